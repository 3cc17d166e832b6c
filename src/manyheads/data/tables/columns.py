"""One column of a table: an Arrow array, or a list where Arrow would change a value's type."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from manyheads.data.tables.cells import plain_cell


class Column(Protocol):
    """The values of one column, of one length."""

    def values(self) -> list[object]:
        """Return the cells as Python values, missing ones as ``None``."""

    def arrow(self) -> pa.ChunkedArray:
        """Return the cells as Arrow keeps them."""

    def order(self) -> list[object] | None:
        """Return all categories in their order, if the column has ordered categories."""

    def select(self, indices: np.ndarray) -> Column:
        """Return the column with these rows, in this order."""


@dataclass(frozen=True)
class ArrowColumn:
    """Cells that one Arrow type holds without changing any of them."""

    cells: pa.ChunkedArray

    def values(self) -> list[object]:
        """Return the cells as Python values, missing ones as ``None``."""
        values: list[object] = self.cells.to_pylist()
        type_ = self.cells.type
        if pa.types.is_map(type_):
            return [_as_dict(value) for value in values]
        may_be_nan = pa.types.is_floating(type_) or pa.types.is_dictionary(type_)
        return [plain_cell(value) for value in values] if may_be_nan else values

    def arrow(self) -> pa.ChunkedArray:
        """Return the cells as Arrow keeps them."""
        return self.cells

    def order(self) -> list[object] | None:
        """Return all categories in their order, if the column has ordered categories."""
        type_ = self.cells.type
        if not (pa.types.is_dictionary(type_) and type_.ordered and self.cells.num_chunks):
            return None
        return list(self.cells.chunk(0).dictionary.to_pylist())

    def select(self, indices: np.ndarray) -> ArrowColumn:
        """Return the column with these rows, in this order."""
        return ArrowColumn(self.cells.take(pa.array(indices)))


@dataclass(frozen=True)
class ListColumn:
    """Cells of any Python types, as plain values."""

    cells: Sequence[object]

    def values(self) -> list[object]:
        """Return a new list of the cells."""
        return list(self.cells)

    def arrow(self) -> pa.ChunkedArray:
        """Return the cells as one Arrow type; cells that share none are written as text."""
        try:
            array = pa.array(self.cells)
            # Arrow takes a mix of text and bytes, or of whole numbers and fractions, and rewrites some.
            types = {type(cell) for cell in self.cells if cell is not None}
            if len(types) > 1 and not pa.types.is_nested(array.type):
                array = as_text(self.cells)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            array = as_text(self.cells)
        return pa.chunked_array([array])

    def order(self) -> None:
        """Return ``None``: the cells have no categories."""

    def select(self, indices: np.ndarray) -> ListColumn:
        """Return the column with these rows, in this order."""
        return ListColumn([self.cells[index] for index in indices])


def list_column(cells: Sequence[object]) -> ListColumn:
    """Return cells of any kind (numpy and pandas scalars too) as a column of plain values."""
    return ListColumn([plain_cell(cell) for cell in cells])


def _as_dict(pairs: object) -> object:
    """Return the pairs of a map as a dict; pairs with a key twice, and missing cells, are returned as they are."""
    if not isinstance(pairs, list):
        return pairs
    mapping = dict(pairs)
    return mapping if len(mapping) == len(pairs) else pairs


def row_indices(indices: Sequence[int] | np.ndarray, rows: int) -> np.ndarray:
    """Return row numbers as an int64 array.

    Raises:
        TypeError: not integers (a mask of bools would silently mean rows 0 and 1).
        IndexError: outside 0 to ``rows - 1``.
    """
    array = np.asarray(indices)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(
            f"row indices must be integers, got {array.dtype}; turn a mask into indices: np.flatnonzero(mask)"
        )
    array = array.astype(np.int64).reshape(-1)
    if array.size and (array.min() < 0 or array.max() >= rows):
        raise IndexError(f"row indices must lie between 0 and {rows - 1}, got {array.min()} to {array.max()}")
    return array


def as_text(cells: Sequence[object]) -> pa.Array:
    """Return cells of any types as text: JSON, but for those that are text."""
    texts = [None if cell is None else _text(cell) for cell in cells]
    return pa.array([text and text.encode("utf-8", "replace").decode() for text in texts], pa.string())


def _text(cell: object) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, default=str)
