"""Cross-validate a method on a table: a report on rows that no training has seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from manyheads.core import HeadedCore
from manyheads.data.labelled import Reading
from manyheads.data.tables.table import Table, read_table
from manyheads.evaluation.kinds import Measures, measures_of
from manyheads.evaluation.learning_curve import LearningCurve, learning_curve
from manyheads.evaluation.report import EvaluatedTable, Report, build_report
from manyheads.training.dataset import TrainingData
from manyheads.training.method import Method
from manyheads.types import Tokenizer
from manyheads.validation.cross_fit import Trainings, prepare_trainings
from manyheads.validation.folds import check_whole, rare_label_notes, smaller_parts
from manyheads.validation.out_of_fold_rows import OutOfFoldRows, out_of_fold_rows

_SEEDS = 2**32


def cross_validate_table(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    method: Method,
    heads: Iterable[str] | None,
    reading: Reading,
    folds: int = 5,
    repeats: int = 1,
    by: Sequence[str] = (),
    with_curve: bool = False,
    seed: int = 0,
) -> Report:
    """Return the report of out-of-fold predictions; the arguments are those of ``cross_validate``."""
    check_whole("folds", folds, 2)
    check_whole("repeats", repeats, 1)
    table = read_table(data)
    columns = {name: table.values(name) for name in by}
    trainings = prepare_trainings(core, tokenizer, table, method, heads, reading, seed)
    divisions = [trainings.folds(folds, (seed + repeat) % _SEEDS) for repeat in range(repeats)]
    predictions = [trainings.predictions(parts) for parts in divisions]
    prepared = trainings.prepared
    rows = {name: out_of_fold_rows(name, prepared, [one[name] for one in predictions]) for name in trainings.names}
    procedure = _procedure(table, trainings, folds, repeats)
    report = build_report(_evaluated(table, trainings, folds, procedure, columns), rows)
    return _with_curves(report, _curves(trainings, divisions[0], rows, seed)) if with_curve else report


def _procedure(table: Table, trainings: Trainings, folds: int, repeats: int) -> str:
    """Return a sentence on how the predictions were made."""
    name = trainings.method.describe()["method"]
    repeated = (
        f" Repeated with {repeats} divisions into folds: metrics are means over them, and everything on single rows "
        "is that of the first."
    )
    return (
        f"Out-of-fold predictions: each of {folds} folds of {table.name} was predicted by heads that {name} trained on "
        f"the others, all settings chosen anew; equal texts are in one fold.{repeated if repeats > 1 else ''}"
    )


def _evaluated(
    table: Table, trainings: Trainings, folds: int, procedure: str, columns: Mapping[str, Sequence[object]]
) -> EvaluatedTable:
    prepared, data = trainings.prepared, trainings.prepared.data
    numbers = prepared.train_rows.tolist()
    return EvaluatedTable(
        source=table.name,
        procedure=procedure,
        texts=[data.texts[row] for row in data.train],
        flags={"truncated": data.tokenized.truncated[data.train]},
        columns={name: [cells[number] for number in numbers] for name, cells in columns.items()},
        notes=[*prepared.notes, *rare_label_notes(data, trainings.heads, folds)],
    )


def _curves(
    trainings: Trainings, parts: Sequence[TrainingData], rows: Mapping[str, OutOfFoldRows], seed: int
) -> dict[str, LearningCurve]:
    """Return the learning curve of each head over the same folds, each trained on shares of its rows."""
    measured: dict[str, dict[int, Measures]] = {
        name: {_mean_rows(name, parts): measures_of(own.scored)} for name, own in rows.items()
    }
    for smaller in smaller_parts(parts, trainings.heads, seed).values():
        for name, predictions in trainings.predictions(smaller).items():
            measured[name][_mean_rows(name, smaller)] = measures_of(predictions.scored(rows[name].targets))
    return {name: learning_curve(found, _labelled_texts(rows[name])) for name, found in measured.items()}


def _mean_rows(name: str, parts: Sequence[TrainingData]) -> int:
    """Return the mean number of a head's training rows."""
    return round(sum(len(part.labelled(name)) for part in parts) / len(parts))


def _labelled_texts(rows: OutOfFoldRows) -> list[Any]:
    return [rows.texts[row] for row in rows.labelled.tolist()]


def _with_curves(report: Report, curves: Mapping[str, LearningCurve]) -> Report:
    heads = {name: replace(head, learning_curve=curves[name]) for name, head in report.heads.items()}
    return replace(report, heads=heads)
