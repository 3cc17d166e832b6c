"""``manyheads compare``."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from manyheads.cli.evaluate_options import CompareInput, EvaluateOutput
from manyheads.cli.text_columns import text_columns
from manyheads.data.tables.table import Table, read_table
from manyheads.evaluation.compare import compare
from manyheads.evaluation.report import Report
from manyheads.evaluation.report.terminal_comparison import comparison_view
from manyheads.model import HeadedModel, evaluate


def run_compare(source: CompareInput, output: EvaluateOutput) -> None:
    """Measure two saved models on one table, and show which differences are real."""
    table = read_table(source.data)
    names = [Path(model).name for model in (source.first, source.second)]
    if names[0] == names[1]:
        names = [source.first, source.second]
    reports = [_report(model, table, source) for model in (source.first, source.second)]
    comparison = compare(dict(zip(names, reports, strict=True)))
    if output.as_json:
        print(json.dumps(comparison.to_dict(), ensure_ascii=False, indent=1))
        return
    console = Console(highlight=False)
    for part in comparison_view(comparison):
        console.print(part)


def _report(name: str, table: Table, source: CompareInput) -> Report:
    model = HeadedModel.from_pretrained(name, trust_remote_code=source.trust_remote_code)
    text = text_columns(source.text, model, source.data)
    return evaluate(model, table, text, source.head or None, max_length=source.max_length, long_text=source.long_text)
