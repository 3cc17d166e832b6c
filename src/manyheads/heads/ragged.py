"""Rows of unequal length as one array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


@dataclass(frozen=True, eq=False)
class Ragged(Sequence[np.ndarray]):
    """A sequence of arrays that differ in their first dimension only, such as one vector per word.

    Attributes:
        values: (items, ...) the rows end to end.
        offsets: (rows + 1,) int64, the first item of each row.
    """

    values: np.ndarray
    offsets: np.ndarray

    @staticmethod
    def of(rows: Iterable[Sequence[int]]) -> Ragged:
        """Return rows of integers end to end, int64."""
        parts = [np.asarray(row, dtype=np.int64) for row in rows]
        return Ragged(np.concatenate([np.empty(0, np.int64), *parts]), offsets_of([len(part) for part in parts]))

    @staticmethod
    def single(row: np.ndarray) -> Ragged:
        """Return one row (items, ...)."""
        return Ragged(row, np.array([0, len(row)]))

    @staticmethod
    def joined(parts: Sequence[Ragged]) -> Ragged:
        """Return the rows of several parts, at least one, end to end."""
        lengths = np.concatenate([part.lengths for part in parts])
        return Ragged(np.concatenate([part.values for part in parts]), offsets_of(lengths))

    @property
    def lengths(self) -> np.ndarray:
        """Number of items of each row (rows,)."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> np.ndarray:
        """Row number of each item (items,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def positions(self) -> np.ndarray:
        """Position of each item in its row (items,)."""
        positions: np.ndarray = np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.lengths)
        return positions

    def take(self, rows: np.ndarray) -> Ragged:
        """Return some rows, in the order given."""
        offsets = offsets_of(self.lengths[rows])
        items = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], np.diff(offsets))
        return Ragged(self.values[items], offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Ragged: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Ragged:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        row = range(len(self))[index]
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __repr__(self) -> str:
        return f"Ragged({len(self)} rows, {len(self.values)} items of shape {self.values.shape[1:]})"


def offsets_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the first item of each row (rows + 1,), int64, from the rows' lengths."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
