"""Rows of unequal length as one array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np


@dataclass(frozen=True, eq=False)
class Ragged(Sequence[np.ndarray]):
    """A sequence of arrays that differ in their first dimension alone, such as one vector per word.

    Attributes:
        values: (items, ...) all of them, end to end.
        offsets: (rows + 1,) where each row's items begin, int64.
    """

    values: np.ndarray
    offsets: np.ndarray

    @staticmethod
    def of(rows: Iterable[np.ndarray], shape: tuple[int, ...]) -> Ragged:
        """Return fp32 rows end to end.

        Args:
            rows: (items, *shape) each.
            shape: Of one item.
        """
        parts = list(rows)
        lengths = [len(part) for part in parts]
        values = np.concatenate(parts) if parts else np.empty((0, *shape))
        return Ragged(values.astype(np.float32, copy=False), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    @property
    def lengths(self) -> np.ndarray:
        """Items of each row (rows,)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Ragged: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Ragged:
        if isinstance(index, slice):
            rows = range(len(self))[index]
            return Ragged.of((self[row] for row in rows), self.values.shape[1:])
        row = range(len(self))[index]
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    def __repr__(self) -> str:
        return f"Ragged({len(self)} rows, {len(self.values)} items of shape {self.values.shape[1:]})"
