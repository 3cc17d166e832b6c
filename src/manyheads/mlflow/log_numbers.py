"""``log_result`` and ``log_report``: the numbers of a training and of a report in MLflow, by head name."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manyheads.evaluation.report import Report
from manyheads.mlflow.import_mlflow import import_mlflow
from manyheads.training.result import TrainResult


def log_result(result: TrainResult) -> None:
    """Log the numbers of a training to MLflow.

    Metrics of the evaluation rows are named ``head.metric``. Those of each epoch of a tuning method are named
    ``head.epoch.metric``, with the epoch as step. What each head reads and the settings that training chose are
    parameters, and the notes are a text file.

    Args:
        result: From ``train``.

    Raises:
        MissingExtraError: MLflow is not installed.

    Examples:
        >>> result = mh.train(model, table, text="note", eval_fraction=0.25)
        >>> mh.mlflow.log_result(result)
    """
    mlflow = import_mlflow()
    for head, metrics in result.metrics.items():
        mlflow.log_metrics({**_named(head, metrics), f"{head}.training_rows": result.rows[head]["train"]})
        for record in result.history[head]:
            values = {name: value for name, value in record.items() if name != "epoch"}
            mlflow.log_metrics(_named(f"{head}.epoch", values), step=round(record.get("epoch", 0)))
    mlflow.log_params({f"{head}.reads": reads for head, reads in result.reads.items()})
    chosen = {f"{head}.{name}": value for head, values in result.chosen.items() for name, value in values.items()}
    mlflow.log_params(chosen)
    mlflow.set_tag("manyheads.lm_unchanged", str(result.lm_check.bit_identical).lower())
    if result.notes:
        mlflow.log_text("\n".join(result.notes) + "\n", "notes.txt")


def log_report(report: Report, name: str = "report") -> None:
    """Log a report to MLflow: its metrics, named ``head.metric``, and the whole report as HTML and JSON.

    Both files contain texts of the evaluated table: the most confident mistakes.

    Args:
        report: From ``evaluate`` or ``cross_validate``.
        name: Name of the two files, without their ends.

    Raises:
        MissingExtraError: MLflow is not installed.

    Examples:
        >>> mh.mlflow.log_report(mh.evaluate(trained, table, text="note"))
    """
    mlflow = import_mlflow()
    for head, metrics in report.metrics.items():
        mlflow.log_metrics(_named(head, metrics))
    mlflow.log_dict(report.to_dict(), f"{name}.json")
    with tempfile.TemporaryDirectory(prefix="manyheads-") as scratch:
        page = Path(scratch) / f"{name}.html"
        report.to_html(page)
        mlflow.log_artifact(str(page))


def _named(owner: str, values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers with their owner's name before theirs."""
    return {f"{owner}.{name}": float(value) for name, value in values.items() if math.isfinite(value)}
