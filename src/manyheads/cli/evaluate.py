"""``manyheads evaluate``."""

from __future__ import annotations

import json

from rich.console import Console

from manyheads.cli.evaluate_options import EvaluateInput, EvaluateOutput
from manyheads.cli.tables import read_input, text_columns
from manyheads.evaluation.page import check_page
from manyheads.evaluation.report.terminal import report_view
from manyheads.model import HeadedModel, evaluate


def run_evaluate(source: EvaluateInput, output: EvaluateOutput) -> None:
    """Measure a saved model on a table, and show the report."""
    if output.report is not None:
        check_page(output.report, output.overwrite)
    table = read_input(source.data, source.format)
    model = HeadedModel.from_pretrained(source.model, trust_remote_code=source.trust_remote_code)
    text = text_columns(source.text, model.heads.values(), source.data)
    report = evaluate(
        model,
        table,
        text,
        source.head or None,
        source.by or (),
        source.train_data,
        source.max_length,
        source.long_text,
    )
    if output.report is not None:
        report.to_html(output.report, overwrite=output.overwrite)
    if output.as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False, indent=1))
        return
    console = Console(highlight=False)
    for part in report_view(report):
        console.print(part)
    if output.report is not None:
        console.print(f"Report written to {output.report}", markup=False)
