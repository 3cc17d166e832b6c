"""The weights of a table's rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from manyheads.data.tables.table import Table
from manyheads.errors import DataError, MissingColumnError
from manyheads.heads import Head
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.numbers import with_points
from manyheads.runtime.lists import plain

# A weight below this share of the mean weight is 0 in fp32.
_LEAST = 1e-30


def read_weights(table: Table, column: str, used: np.ndarray) -> np.ndarray:
    """Return the weight of every row, fp64 (rows,), divided by the mean weight of the rows that are used.

    Args:
        table: The table.
        column: The column with the weights.
        used: Booleans (rows,): the rows whose weights matter; the others get 0.

    Raises:
        MissingColumnError: no column of that name.
        DataError: a weight is missing, negative or no finite number, or all are 0; names the row.
    """
    try:
        cells = with_points(table.values(column))
    except MissingColumnError as error:
        raise MissingColumnError(f"Weights: {error}; name another with weight=") from None
    weights = np.zeros(len(cells))
    for row in np.flatnonzero(used).tolist():
        weights[row] = _weight(cells[row], f"{table.name}: weight column {column!r}", row)
    if used.any() and not weights.any():
        raise DataError(
            f"{table.name}: weight column {column!r}: all weights are 0, so no row counts; give some a weight above 0"
        )
    relative = weights / (weights.max() or 1.0)
    relative /= relative[used].mean() if used.any() else 1.0
    scaled: np.ndarray = np.where(relative < _LEAST, 0.0, relative)
    return scaled


def check_weight_column(column: str, text: str | Sequence[str], heads: Mapping[str, Head], source: str) -> None:
    """Check that the weights are not the texts or the labels of a head.

    Raises:
        DataError: they are.
    """
    if not isinstance(column, str):
        raise DataError(f"weight must be a column's name, got {column!r}")
    labels = [name for name, head in heads.items() if (head.spec.column or name) == column]
    texts = [text] if isinstance(text, str) else list(text)
    if labels or column in texts:
        role = f"the label column of head {labels[0]!r}" if labels else "a text column"
        raise DataError(f"{source}: weight column {column!r} is also {role}; name another column with weight=")


def _weight(cell: object, place: str, row: int) -> float:
    if is_missing(cell):
        raise DataError(f"{place}: row {row + 1} has no weight; fill it in, with 0 for a row that does not count")
    try:
        value = float(plain(cell))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(f"{place}: {cell!r:.60} (row {row + 1}) is no finite number of at least 0; correct it")
    return value
