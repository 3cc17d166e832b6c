"""Features of all rows: pieces in memory or mapped from disk, each different text stored once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from manyheads.taps import BackboneTap
from manyheads.types import Features

# Rows whose words are read from a table together.
_TEXTS = 256


class FeatureTable(ABC):
    """The features that one tap yields for many rows, on the CPU."""

    @property
    @abstractmethod
    def by_token(self) -> bool:
        """Whether a row has one vector, or one id, per token."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Features:
        """Return copies of the features of some rows, in the order given: fp32 values, or integer token ids."""

    def of_rows(self, rows: np.ndarray) -> FeatureTable:
        """Return the table of some rows, in the order given; nothing is copied."""
        return RowTable(self, rows)

    def of_words(self, rows: np.ndarray, words: np.ndarray) -> FeatureTable:
        """Return the table of single words of a table by word; nothing is copied.

        Args:
            rows: (words,) row of each word.
            words: (words,) position of each word in its row.
        """
        return WordTable(self, rows, words)


@dataclass(frozen=True, eq=False)
class Piece:
    """Features of some texts as one block.

    Attributes:
        values: (texts, ...), or (tokens, width) of texts that lie end to end.
        offsets: (texts + 1,) where each text's tokens begin, int64; ``None`` for one item per text.
    """

    values: Tensor
    offsets: Tensor | None = None

    @staticmethod
    def joined(parts: Sequence[Features]) -> Piece:
        """Return one block of several batches without padding, as a copy."""
        values = torch.cat([_unpadded(part) for part in parts])
        if parts[0].mask is None:
            return Piece(values)
        lengths = torch.cat([part.mask.sum(dim=1) for part in parts if part.mask is not None])
        return Piece(values, torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(dim=0)]))

    @property
    def size_bytes(self) -> int:
        """Size of the values in bytes."""
        return self.values.numel() * self.values.element_size()


class PieceTable(FeatureTable):
    """A table that grows by pieces.

    Args:
        slots: (rows,) index of each row's text among the different texts.
    """

    def __init__(self, slots: np.ndarray) -> None:
        count = int(slots.max()) + 1 if len(slots) else 0
        self._slots = slots
        self._pieces: list[Piece] = []
        self._piece_of = np.full(count, -1, dtype=np.int64)
        self._place_of = np.zeros(count, dtype=np.int64)

    @property
    def by_token(self) -> bool:
        """Whether its pieces hold tokens."""
        return bool(self._pieces) and self._pieces[0].offsets is not None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row's features, or of one token's."""
        return tuple(self._pieces[0].values.shape[1:])

    def missing(self, slots: np.ndarray) -> np.ndarray:
        """Return those of these texts whose features are not here."""
        missing: np.ndarray = slots[self._piece_of[slots] < 0]
        return missing

    def add(self, slots: np.ndarray, places: np.ndarray, piece: Piece) -> None:
        """Add a piece, with the features of text ``slots[i]`` at position ``places[i]``."""
        self._piece_of[slots] = len(self._pieces)
        self._place_of[slots] = places
        self._pieces.append(piece)

    def take(self, rows: np.ndarray) -> Features:
        """Return fp32 (rows, ...) values, or right-padded (rows, tokens, width) values and their mask."""
        slots = self._slots[rows]
        assert not len(self.missing(slots)), "rows were taken before their features were read"
        return self._tokens(slots) if self.by_token else Features(self._vectors(slots))

    def _vectors(self, slots: np.ndarray) -> Tensor:
        values = torch.empty((len(slots), *self.row_shape))
        for number in np.unique(self._piece_of[slots]):
            mine = np.flatnonzero(self._piece_of[slots] == number)
            places = torch.from_numpy(self._place_of[slots[mine]])
            values[torch.from_numpy(mine)] = self._pieces[number].values[places].float()
        return values

    def _tokens(self, slots: np.ndarray) -> Features:
        parts = []
        for slot in slots:
            piece, place = self._pieces[self._piece_of[slot]], self._place_of[slot]
            assert piece.offsets is not None
            parts.append(piece.values[piece.offsets[place] : piece.offsets[place + 1]].float())
        return padded(parts)


class GivenTable(FeatureTable):
    """A table of vectors that no pass yields.

    Args:
        rows: Which rows they are of, all different.
        vectors: fp32 (rows, width).
    """

    def __init__(self, rows: np.ndarray, vectors: Tensor) -> None:
        self._vectors = vectors
        self._place_of = np.full(int(rows.max(initial=-1)) + 1, -1)
        self._place_of[rows] = np.arange(len(rows))

    @property
    def by_token(self) -> bool:
        """Always false."""
        return False

    def take(self, rows: np.ndarray) -> Features:
        """Return fp32 (rows, width) vectors."""
        places = self._place_of[rows]
        assert (places >= 0).all(), "rows were taken that were not given"
        return Features(self._vectors[torch.from_numpy(places)])


@dataclass(frozen=True)
class RowTable(FeatureTable):
    """Some rows of a table.

    Attributes:
        table: All rows.
        rows: (rows,) the row numbers.
    """

    table: FeatureTable
    rows: np.ndarray

    @property
    def by_token(self) -> bool:
        """Whether a row has one vector, or one id, per token."""
        return self.table.by_token

    def take(self, rows: np.ndarray) -> Features:
        """Return the features of some of these rows."""
        return self.table.take(self.rows[rows])


@dataclass(frozen=True)
class WordTable(FeatureTable):
    """Single words of a table by word.

    Attributes:
        table: (rows, words, width).
        texts: (words,) row of each word.
        words: (words,) position of each word in its row.
    """

    table: FeatureTable
    texts: np.ndarray
    words: np.ndarray

    @property
    def by_token(self) -> bool:
        """False: a row is a word."""
        return False

    def take(self, rows: np.ndarray) -> Features:
        """Return (rows, width) vectors of some of these words, at least one."""
        texts, where = np.unique(self.texts[rows], return_inverse=True)
        order = np.argsort(where, kind="stable")
        values = None
        for start in range(0, len(texts), _TEXTS):
            mine = order[np.searchsorted(where[order], start) : np.searchsorted(where[order], start + _TEXTS)]
            found = self.table.take(texts[start : start + _TEXTS]).values
            picked = found[torch.from_numpy(where[mine] - start), torch.from_numpy(self.words[rows[mine]])]
            values = picked.new_empty((len(rows), picked.shape[1])) if values is None else values
            values[torch.from_numpy(mine)] = picked
        assert values is not None, "no words were requested"
        return Features(values)


@dataclass(frozen=True)
class DerivedTable(FeatureTable):
    """Features of a tap, computed from those of the tap under which they are cached.

    Attributes:
        tap: The tap.
        stored: The table of ``tap.stored``.
    """

    tap: BackboneTap
    stored: FeatureTable

    @property
    def by_token(self) -> bool:
        """Whether a row has one vector per token."""
        return self.stored.by_token

    def take(self, rows: np.ndarray) -> Features:
        """Return the features of some rows."""
        return self.tap.from_stored(self.stored.take(rows))


class HoldsIds(Protocol):
    """Anything with the token ids of rows."""

    def ids(self, row: int) -> list[int]:
        """Return the token ids of a row."""


@dataclass(frozen=True)
class IdTable(FeatureTable):
    """The token ids themselves: what a tap reads that needs no pass.

    Attributes:
        source: Whose ids they are.
    """

    source: HoldsIds

    @property
    def by_token(self) -> bool:
        """True: every row has its own number of ids."""
        return True

    def take(self, rows: np.ndarray) -> Features:
        """Return right-padded (rows, tokens) ids and their mask."""
        ids = [self.source.ids(row) for row in rows]
        lengths = np.array([len(own) for own in ids])
        mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
        padded_ids = np.zeros(mask.shape, dtype=np.int64)
        padded_ids[mask] = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))
        return Features(torch.from_numpy(padded_ids), torch.from_numpy(mask))


def padded(parts: Sequence[Tensor]) -> Features:
    """Return rows of unequal length as one right-padded tensor and its mask."""
    values: Tensor = torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True)
    lengths = torch.tensor([len(part) for part in parts])
    return Features(values, torch.arange(values.shape[1]) < lengths.unsqueeze(1))


def _unpadded(features: Features) -> Tensor:
    return features.values if features.mask is None else features.values[features.mask]
