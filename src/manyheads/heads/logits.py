"""One head's fp32 logits of many rows: one vector per row, or one per word of each row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from manyheads.heads.ragged import Ragged, offsets_of

if TYPE_CHECKING:
    from torch import Tensor


class Logits(ABC):
    """One head's fp32 logits of many rows.

    Attributes:
        values: The logits as an array (rows, outputs), or as ``Ragged`` with (words, outputs) per row.
    """

    values: Any

    @classmethod
    @abstractmethod
    def empty(cls, outputs: int, words: np.ndarray) -> Logits:
        """Return uninitialized logits.

        Args:
            outputs: Number of logits per row or word.
            words: (rows,) number of words of each row; logits of whole rows need their count only.
        """

    @classmethod
    @abstractmethod
    def joined(cls, parts: Sequence[Logits]) -> Logits:
        """Return the logits of several parts, at least one, end to end."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Logits:
        """Return the logits that ``tensors`` was called on."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the logits as named tensors, for a safetensors file."""

    @abstractmethod
    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Any:
        """Return a function of the logits (..., outputs) in the form of ``values``."""

    @abstractmethod
    def scaled(self, factor: float) -> Logits:
        """Return the logits times a factor, such as one over a temperature."""

    @abstractmethod
    def averaged(self, other: Logits, share: float) -> Logits:
        """Return the mean of these logits and others of the same rows, which have this share of the weight."""

    @abstractmethod
    def fill(self, value: float) -> None:
        """Set all logits to a value, such as NaN."""

    @abstractmethod
    def put(self, rows: np.ndarray, batch: np.ndarray) -> None:
        """Write a batch.

        Args:
            rows: (batch,) the batch's row numbers.
            batch: (batch, outputs), or (batch, words, outputs) right-padded.
        """

    @abstractmethod
    def take(self, rows: np.ndarray) -> Logits:
        """Return the logits of some rows, in the order given."""

    @abstractmethod
    def __getitem__(self, rows: slice) -> Logits: ...


@dataclass(frozen=True, eq=False)
class RowLogits(Logits):
    """One vector per row.

    Attributes:
        values: (rows, outputs).
    """

    values: np.ndarray

    @classmethod
    def empty(cls, outputs: int, words: np.ndarray) -> RowLogits:
        """Return uninitialized logits."""
        return cls(np.empty((len(words), outputs), np.float32))

    @classmethod
    def joined(cls, parts: Sequence[Logits]) -> RowLogits:
        """Return the logits of several parts, at least one, end to end."""
        return cls(np.concatenate([part.values for part in parts]))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> RowLogits:
        """Return the logits that ``tensors`` was called on."""
        return cls(tensors["logits"].numpy())

    def tensors(self) -> dict[str, Tensor]:
        """Return one tensor."""
        import torch

        return {"logits": torch.from_numpy(self.values)}

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return a function of the logits, (rows, ...)."""
        return function(self.values)

    def scaled(self, factor: float) -> RowLogits:
        """Return the logits times a factor."""
        return RowLogits(self.values * np.float32(factor))

    def averaged(self, other: Logits, share: float) -> RowLogits:
        """Return the mean of these logits and others of the same rows."""
        return RowLogits(_averaged(self.values, other.values, share))

    def fill(self, value: float) -> None:
        """Set all logits to a value."""
        self.values.fill(value)

    def put(self, rows: np.ndarray, batch: np.ndarray) -> None:
        """Write a batch (batch, outputs)."""
        self.values[rows] = batch

    def take(self, rows: np.ndarray) -> RowLogits:
        """Return the logits of some rows, in the order given."""
        return RowLogits(self.values[rows])

    def __getitem__(self, rows: slice) -> RowLogits:
        return RowLogits(self.values[rows])


@dataclass(frozen=True, eq=False)
class WordLogits(Logits):
    """One vector per word of each row.

    Attributes:
        values: (words, outputs) per row.
    """

    values: Ragged

    @classmethod
    def empty(cls, outputs: int, words: np.ndarray) -> WordLogits:
        """Return uninitialized logits."""
        return cls(Ragged(np.empty((int(words.sum()), outputs), np.float32), offsets_of(words)))

    @classmethod
    def joined(cls, parts: Sequence[Logits]) -> WordLogits:
        """Return the logits of several parts, at least one, end to end."""
        return cls(Ragged.joined([part.values for part in parts]))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> WordLogits:
        """Return the logits that ``tensors`` was called on."""
        return cls(Ragged(tensors["logits"].numpy(), tensors["offsets"].numpy()))

    def tensors(self) -> dict[str, Tensor]:
        """Return all words end to end, and the offsets of the rows."""
        import torch

        return {"logits": torch.from_numpy(self.values.values), "offsets": torch.from_numpy(self.values.offsets)}

    def map(self, function: Callable[[np.ndarray], np.ndarray]) -> Ragged:
        """Return a function of the logits, (words, ...) per row."""
        return Ragged(function(self.values.values), self.values.offsets)

    def scaled(self, factor: float) -> WordLogits:
        """Return the logits times a factor."""
        return WordLogits(self.map(lambda values: values * np.float32(factor)))

    def averaged(self, other: Logits, share: float) -> WordLogits:
        """Return the mean of these logits and others of the same rows."""
        return WordLogits(self.map(lambda values: _averaged(values, other.values.values, share)))

    def fill(self, value: float) -> None:
        """Set all logits to a value."""
        self.values.values.fill(value)

    def put(self, rows: np.ndarray, batch: np.ndarray) -> None:
        """Write a batch (batch, words, outputs), without its padding."""
        positions = np.arange(batch.shape[1])
        real = positions < self.values.lengths[rows, None]
        self.values.values[(self.values.offsets[rows, None] + positions)[real]] = batch[real]

    def take(self, rows: np.ndarray) -> WordLogits:
        """Return the logits of some rows, in the order given."""
        return WordLogits(self.values.take(rows))

    def __getitem__(self, rows: slice) -> WordLogits:
        return WordLogits(self.values[rows])


def _averaged(values: np.ndarray, others: np.ndarray, share: float) -> np.ndarray:
    mean: np.ndarray = np.float32(1 - share) * values + np.float32(share) * others
    return mean
