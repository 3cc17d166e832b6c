"""Costs of answers, read from a mapping, a matrix or a CSV file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.data.tables.table import read_table
from manyheads.errors import DataError, LabelError, did_you_mean
from manyheads.heads.base import is_number
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.label_text import number_of
from manyheads.heads.cells.labels import LabelIndex


def read_costs(costs: Any, labels: Sequence[object], owner: str) -> np.ndarray:
    """Return costs, fp64 (labels, labels), a row per right label and a column per predicted one.

    Args:
        costs: A mapping of right labels to mappings of predicted labels to costs; a matrix in the order of the labels;
            or the path of a table with the right labels in its first column and a column per predicted label. A pair
            that a mapping or table leaves out costs 0 if it is right, and 1 if it is wrong.
        labels: The head's labels.
        owner: The head, for messages.

    Raises:
        LabelError: a label that the head does not have.
        DataError: another shape, or a cost that is not a finite number.
    """
    if isinstance(costs, str | Path):
        return _by_label(_rows_of(costs), labels, f"{owner}: {costs}")
    if isinstance(costs, Mapping):
        return _by_label(costs, labels, f"{owner}: costs")
    return _matrix(costs, labels, f"{owner}: costs")


def _matrix(costs: Any, labels: Sequence[object], owner: str) -> np.ndarray:
    rows = costs.tolist() if isinstance(costs, np.ndarray) else costs
    several = isinstance(rows, list | tuple) and all(isinstance(row, list | tuple) for row in rows)
    if not several or len(rows) != len(labels) or any(len(row) != len(labels) for row in rows):
        shape = " x ".join(map(str, np.shape(rows))) if several and len({len(row) for row in rows}) == 1 else "others"
        raise DataError(
            f"{owner}: must be {len(labels)} x {len(labels)} numbers, a row per right label and a column per predicted "
            f"one, got {shape}; name the labels in a mapping to leave pairs out"
        )
    return np.array([[_number(cost, owner) for cost in row] for row in rows])


def _by_label(costs: Mapping[Any, Any], labels: Sequence[object], owner: str) -> np.ndarray:
    index, found = LabelIndex(labels), 1.0 - np.eye(len(labels))
    for right, row in costs.items():
        if not isinstance(row, Mapping):
            raise DataError(f"{owner}: {right!r} needs a mapping of predicted labels to costs, got {row!r:.80}")
        for predicted, cost in row.items():
            place = _position(index, right, owner), _position(index, predicted, owner)
            found[place] = _number(cost, f"{owner}: {right!r} predicted as {predicted!r}")
    return found


def _rows_of(path: str | Path) -> dict[Any, dict[Any, Any]]:
    """Return the rows of a table by the label in its first column, without empty cells."""
    table = read_table(path)
    first, *others = table.columns
    columns = {name: table.values(name) for name in others}
    return {
        right: {name: cells[row] for name, cells in columns.items() if not is_missing(cells[row])}
        for row, right in enumerate(table.values(first))
    }


def _position(index: LabelIndex, label: object, owner: str) -> int:
    place = index.find(label)
    if place is None:
        raise LabelError(
            f"{owner}: {label!r} is not among {len(index.labels)} labels{did_you_mean(label, index.labels)} "
            "Correct the costs."
        )
    return place


def _number(cost: object, owner: str) -> float:
    number = number_of(cost) if isinstance(cost, str) else cost
    if not is_number(number) or not math.isfinite(number):  # type: ignore[arg-type]
        raise DataError(f"{owner}: a cost must be a finite number, got {cost!r:.80}")
    return float(number)  # type: ignore[arg-type]
