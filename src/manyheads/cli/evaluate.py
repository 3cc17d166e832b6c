"""``manyheads evaluate``."""

from __future__ import annotations

import json

from rich.console import Console

from manyheads.cli.evaluate_options import CrossValidation, EvaluateInput, EvaluateOutput
from manyheads.cli.new_heads import with_heads
from manyheads.cli.tables import read_input
from manyheads.errors import ConfigError
from manyheads.evaluation.page import check_page
from manyheads.evaluation.report import Report
from manyheads.evaluation.report.terminal import report_view
from manyheads.functions.cross_validate import cross_validate
from manyheads.functions.evaluate import evaluate
from manyheads.inference.text_columns import text_columns
from manyheads.model import HeadedModel


def run_evaluate(source: EvaluateInput, folds: CrossValidation, output: EvaluateOutput) -> None:
    """Measure a saved model on a table, or cross-validate on it, and show the report."""
    if output.report is not None:
        check_page(output.report, output.overwrite)
    show_report(_cross_validated(source, folds) if _asked(source, folds) else _evaluated(source), output)


def _asked(source: EvaluateInput, folds: CrossValidation) -> bool:
    """Return whether cross-validation is asked for.

    Raises:
        ConfigError: an option that belongs to the other way.
    """
    if folds.cross_validate and source.train_data is not None:
        raise ConfigError("--train-data: the baselines of --cross-validate are fitted on the same folds; leave it out")
    given = [name for name in ("folds", "repeats", "method", "learning_curve", "seed") if getattr(folds, name)]
    if given and not folds.cross_validate:
        raise ConfigError(f"--{given[0].replace('_', '-')} needs --cross-validate")
    return folds.cross_validate


def _cross_validated(source: EvaluateInput, folds: CrossValidation) -> Report:
    table = read_input(source.data, source.format)
    model = HeadedModel.from_pretrained(source.model, trust_remote_code=source.trust_remote_code)
    heads = with_heads(model, table, source.head or (), Console(stderr=True))
    return cross_validate(
        model,
        table,
        text_columns(source.text, model.heads.values(), source.data),
        folds.method,
        5 if folds.folds is None else folds.folds,
        1 if folds.repeats is None else folds.repeats,
        heads,
        source.by or (),
        folds.learning_curve,
        source.max_length,
        source.long_text,
        folds.seed or 0,
    )


def _evaluated(source: EvaluateInput) -> Report:
    table = read_input(source.data, source.format)
    model = HeadedModel.from_pretrained(source.model, trust_remote_code=source.trust_remote_code)
    text = text_columns(source.text, model.heads.values(), source.data)
    return evaluate(
        model,
        table,
        text,
        source.head or None,
        source.by or (),
        source.train_data,
        source.max_length,
        source.long_text,
    )


def show_report(report: Report, output: EvaluateOutput) -> None:
    """Print a report, and write its page if one is asked for."""
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
