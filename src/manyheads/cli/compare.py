"""``manyheads compare``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from manyheads.cli.evaluate_options import CompareInput, CompareOutput
from manyheads.data.labelled import Reading
from manyheads.data.tables.table import Table, read_table
from manyheads.evaluation.compare import compare_predictions
from manyheads.evaluation.evaluate import predict_labelled
from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.report.terminal_comparison import comparison_view
from manyheads.inference.text_columns import text_columns
from manyheads.model import HeadedModel


def run_compare(source: CompareInput, output: CompareOutput) -> None:
    """Measure two saved models on one table, and show which differences are real."""
    table = read_table(source.data)
    models = (source.first, source.second)
    predicted = {name: _predicted(model, table, source) for name, model in zip(_names(models), models, strict=True)}
    comparison = compare_predictions(predicted, table.name)
    if output.as_json:
        print(json.dumps(comparison.to_dict(), ensure_ascii=False, indent=1))
        return
    console = Console(highlight=False)
    for part in comparison_view(comparison):
        console.print(part)


def _names(models: Sequence[str]) -> Sequence[str]:
    """Return the folders' names, or their paths, whichever differ."""
    names = [Path(model).name for model in models]
    return next(found for found in (names, models, ("first", "second")) if len(set(found)) == len(models))


def _predicted(name: str, table: Table, source: CompareInput) -> dict[str, EvaluatedRows]:
    model = HeadedModel.from_pretrained(name, trust_remote_code=source.trust_remote_code)
    reading = Reading(text_columns(source.text, model.heads.values(), source.data), source.max_length, source.long_text)
    return predict_labelled(model.core, model.tokenizer, table, reading, source.head or None)[1]
