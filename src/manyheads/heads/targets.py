"""One head's encoded labels of many rows: one target per row, or one per word of each row.

A missing label is -100 in integers and NaN in floats.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np

from manyheads.heads.logits import Logits
from manyheads.heads.ragged import Ragged
from manyheads.types import MISSING

Selection = TypeVar("Selection", covariant=True)


class Selectable(Protocol[Selection]):
    """Anything by row, such as a table of features, from which rows or single words can be selected."""

    def of_rows(self, rows: np.ndarray) -> Selection:
        """Return the items of these rows (items,)."""

    def of_words(self, rows: np.ndarray, words: np.ndarray) -> Selection:
        """Return the items of these words: the row of each (items,), and its position in the row (items,)."""


@dataclass(frozen=True, eq=False)
class Items:
    """The labelled items of a head: its rows, or the words of its rows.

    Attributes:
        targets: (items, ...) encoded labels.
        rows: (items,) row number of each item.
    """

    targets: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


class Targets(Sequence[Any]):
    """One head's encoded labels of many rows.

    Attributes:
        unit: The labelled items in the plural, for messages about training rows.
        values: The targets as an array (rows, ...), or as ``Ragged`` with one target per word.
    """

    unit: ClassVar[str]
    values: Any

    @property
    @abstractmethod
    def labelled(self) -> np.ndarray:
        """(rows,) booleans: the rows with any label."""

    @abstractmethod
    def classes(self) -> list[frozenset[int]]:
        """Return the classes that each row has, to split rows by: none for numbers."""

    @abstractmethod
    def item_classes(self) -> list[frozenset[int]]:
        """Return the classes that each of ``items`` has, to split them by: none for numbers."""

    @abstractmethod
    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return everything the targets consist of, for digests."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Targets:
        """Return the targets of some rows, in the order given."""

    @abstractmethod
    def joined(self, others: Sequence[Targets]) -> Targets:
        """Return these targets and those of further rows after them."""

    @abstractmethod
    def of_words(self, words: Sequence[np.ndarray]) -> Targets:
        """Return the targets of some words only; targets of whole rows are returned unchanged.

        Args:
            words: For each row, the positions of these words among all words of the row, ascending.
        """

    @abstractmethod
    def items(self) -> Items:
        """Return the labelled items, row by row."""

    @abstractmethod
    def select(self, table: Selectable[Selection], rows: np.ndarray) -> Selection:
        """Return the part of a table that belongs to ``items``, item by item.

        Args:
            table: Has further rows too.
            rows: (rows,) the table's row number of each row of these targets.
        """

    @abstractmethod
    def item_logits(self, logits: Logits) -> np.ndarray:
        """Return the logits (items, outputs) of ``items``, of logits of the same rows."""

    @abstractmethod
    def put_item_logits(self, logits: Logits, values: np.ndarray) -> None:
        """Replace the logits of ``items`` in logits of the same rows.

        Args:
            logits: Changed.
            values: (items, outputs).
        """


@dataclass(frozen=True, eq=False)
class RowTargets(Targets):
    """One target per row.

    Attributes:
        values: int64 class positions (rows,), or float32 values (rows,) or (rows, labels).
    """

    unit: ClassVar[str] = "training rows"

    values: np.ndarray

    @property
    def labelled(self) -> np.ndarray:
        """(rows,) booleans: the rows with any label."""
        present = self.values != MISSING if self.values.dtype.kind == "i" else ~np.isnan(self.values)
        labelled: np.ndarray = present.any(axis=tuple(range(1, present.ndim)))
        return labelled

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: Any) -> Any:
        return self.values[row]

    def classes(self) -> list[frozenset[int]]:
        """Return the class of each row, or the labels that are rather present; none for numbers and missing labels."""
        if self.values.ndim == 2:
            return [frozenset(np.flatnonzero(row >= 0.5).tolist()) for row in self.values]
        if self.values.dtype.kind != "i":
            return [frozenset()] * len(self)
        return _single_classes(self.values)

    def item_classes(self) -> list[frozenset[int]]:
        """Return the classes of the labelled rows."""
        return self.take(self.items().rows).classes()

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the values."""
        return (self.values,)

    def take(self, rows: np.ndarray) -> RowTargets:
        """Return the targets of some rows, in the order given."""
        return replace(self, values=self.values[rows])

    def joined(self, others: Sequence[Targets]) -> RowTargets:
        """Return these targets and those of further rows after them."""
        return replace(self, values=np.concatenate([self.values, *(other.values for other in others)]))

    def of_words(self, words: Sequence[np.ndarray]) -> RowTargets:
        """Return the targets unchanged."""
        return self

    def items(self) -> Items:
        """Return the labelled rows."""
        rows = np.flatnonzero(self.labelled)
        return Items(self.values[rows], rows)

    def select(self, table: Selectable[Selection], rows: np.ndarray) -> Selection:
        """Return the table of the labelled rows."""
        return table.of_rows(rows[self.labelled])

    def item_logits(self, logits: Logits) -> np.ndarray:
        """Return the logits of the labelled rows."""
        values: np.ndarray = logits.values[self.labelled]
        return values

    def put_item_logits(self, logits: Logits, values: np.ndarray) -> None:
        """Replace the logits of the labelled rows."""
        logits.values[self.labelled] = values


@dataclass(frozen=True, eq=False)
class ShareTargets(RowTargets):
    """The shares of all labels per row, for a head with exactly one label per row.

    Attributes:
        values: float32 (rows, labels), with a sum of one per row, NaN where missing.
    """

    def classes(self) -> list[frozenset[int]]:
        """Return the label with the largest share of each row; none for missing labels."""
        most = np.nan_to_num(self.values, nan=-1.0).argmax(axis=1)
        return _single_classes(np.where(self.labelled, most, MISSING))


@dataclass(frozen=True, eq=False)
class WordTargets(Targets):
    """One target per word of each row.

    Attributes:
        values: int64 class position of each word.
    """

    unit: ClassVar[str] = "words of the training rows"

    values: Ragged

    @property
    def labelled(self) -> np.ndarray:
        """(rows,) booleans: the rows with a labelled word."""
        return np.bincount(self.items().rows, minlength=len(self)) > 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: Any) -> Any:
        return self.values[row]

    def classes(self) -> list[frozenset[int]]:
        """Return the classes of each row's words."""
        return [frozenset(row[row != MISSING].tolist()) for row in self.values]

    def item_classes(self) -> list[frozenset[int]]:
        """Return the class of each labelled word."""
        return _single_classes(self.items().targets)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the class positions and the offsets of the rows."""
        return self.values.values, self.values.offsets

    def take(self, rows: np.ndarray) -> WordTargets:
        """Return the targets of some rows, in the order given."""
        return WordTargets(self.values.take(rows))

    def joined(self, others: Sequence[Targets]) -> WordTargets:
        """Return these targets and those of further rows after them."""
        return WordTargets(Ragged.joined([self.values, *(other.values for other in others)]))

    def of_words(self, words: Sequence[np.ndarray]) -> WordTargets:
        """Return the targets of some words of each row."""
        return WordTargets(Ragged.of(row[kept] for row, kept in zip(self.values, words, strict=True)))

    def items(self) -> Items:
        """Return the labelled words."""
        return Items(self.values.values[self._present], self.values.rows[self._present])

    def select(self, table: Selectable[Selection], rows: np.ndarray) -> Selection:
        """Return the table of the labelled words."""
        return table.of_words(rows[self.values.rows[self._present]], self.values.positions[self._present])

    def item_logits(self, logits: Logits) -> np.ndarray:
        """Return the logits of the labelled words."""
        values: np.ndarray = logits.values.values[self._present]
        return values

    def put_item_logits(self, logits: Logits, values: np.ndarray) -> None:
        """Replace the logits of the labelled words."""
        logits.values.values[self._present] = values

    @property
    def _present(self) -> np.ndarray:
        present: np.ndarray = self.values.values != MISSING
        return present


def _single_classes(positions: np.ndarray) -> list[frozenset[int]]:
    """Return the class at each position (items,); none for missing ones."""
    return [frozenset() if position == MISSING else frozenset([position]) for position in positions.tolist()]
