"""Numbers of rows that are added up: most metrics are functions of such sums.

Metrics of all rows, of a slice, and of a thousand resamples are then the same function of different sums, and a
thousand sums are one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

# Name -> sums (draws, width), one row per resample.
Sums = Mapping[str, np.ndarray]


class RowSums:
    """Named numbers of rows.

    Args:
        parts: Name -> (rows, width) or (rows,), dense or sparse.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        columns = {name: _as_columns(part) for name, part in parts.items()}
        ends = np.cumsum([part.shape[1] for part in columns.values()]).tolist()
        self._places = {
            name: slice(end - part.shape[1], end) for (name, part), end in zip(columns.items(), ends, strict=True)
        }
        self._matrix = sparse.hstack(list(columns.values()), format="csr")

    @staticmethod
    def side_by_side(each: Sequence[RowSums]) -> RowSums:
        """Return several numbers of the same rows side by side; ``of_place`` finds each of them in their sums."""
        return RowSums(
            {
                f"{place} {name}": one._matrix[:, columns]
                for place, one in enumerate(each)
                for name, columns in one._places.items()
            }
        )

    @staticmethod
    def of_place(sums: Sums, place: int) -> Sums:
        """Return the sums of one of the numbers that stand side by side."""
        prefix = f"{place} "
        return {name.removeprefix(prefix): value for name, value in sums.items() if name.startswith(prefix)}

    def __len__(self) -> int:
        return int(self._matrix.shape[0])

    def rows(self, rows: np.ndarray) -> RowSums:
        """Return the numbers of some rows."""
        return self._with(self._matrix[rows])

    def grouped(self, groups: np.ndarray) -> RowSums:
        """Return the sums of groups of rows; ``groups`` is the group of each row (rows,)."""
        count = int(groups.max(initial=-1)) + 1
        membership = sparse.csr_matrix((np.ones(len(groups)), (groups, np.arange(len(groups)))), (count, len(groups)))
        return self._with((membership @ self._matrix).tocsr())

    def total(self) -> Sums:
        """Return the sums of all rows, (1, width) by name."""
        return self._named(np.asarray(self._matrix.sum(axis=0)).reshape(1, -1))

    def weighted(self, weights: np.ndarray) -> Sums:
        """Return the sums with weights (draws, rows), (draws, width) by name."""
        return self._named(np.asarray((self._matrix.T @ weights.T).T))

    def _named(self, sums: np.ndarray) -> Sums:
        return {name: sums[:, place] for name, place in self._places.items()}

    def _with(self, matrix: Any) -> RowSums:
        changed = object.__new__(RowSums)
        changed._places, changed._matrix = self._places, matrix
        return changed


def one_hot(positions: np.ndarray, width: int, counted: np.ndarray | None = None) -> Any:
    """Return sparse (rows, width) with a one at each row's position, only in the rows that are counted (booleans)."""
    rows = np.arange(len(positions)) if counted is None else np.flatnonzero(counted)
    return sparse.csr_matrix((np.ones(len(rows)), (rows, positions[rows])), (len(positions), width))


def ratio(above: np.ndarray, below: np.ndarray, undefined: float = 0.0) -> np.ndarray:
    """Return quotients, and ``undefined`` where the divisor is 0."""
    above, below = np.broadcast_arrays(np.asarray(above, dtype=np.float64), below)
    found = np.full(above.shape, undefined)
    np.divide(above, below, out=found, where=below != 0)
    return found


def _as_columns(part: Any) -> Any:
    if sparse.issparse(part):
        return part.tocsr()
    array = np.asarray(part, dtype=np.float64)
    return sparse.csr_matrix(array[:, None] if array.ndim == 1 else array)
