"""Features of all rows, in memory: one array, or the tokens of all rows end to end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from manyheads.types import Features


class FeatureTable(ABC):
    """The features that one tap yields for many rows, fp32 on the CPU."""

    by_token: ClassVar[bool]

    @abstractmethod
    def put(self, rows: np.ndarray, features: Features) -> None:
        """Store the features of one batch."""

    @abstractmethod
    def take(self, rows: np.ndarray) -> Features:
        """Return the features of some rows, in their order."""


class DenseTable(FeatureTable):
    """One vector (or one per layer) per row."""

    by_token = False

    def __init__(self, rows: int, shape: tuple[int, ...]) -> None:
        self.values = torch.empty((rows, *shape))

    def put(self, rows: np.ndarray, features: Features) -> None:
        """Store (batch, ...) values."""
        self.values[torch.from_numpy(rows)] = features.values.float().cpu()

    def take(self, rows: np.ndarray) -> Features:
        """Return (rows, ...) values."""
        return Features(self.values[torch.from_numpy(rows)])


class TokenTable(FeatureTable):
    """One vector per real token; rows lie end to end, without padding."""

    by_token = True

    def __init__(self, lengths: np.ndarray, width: int) -> None:
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        self.values = torch.empty((int(self.offsets[-1]), width))

    def put(self, rows: np.ndarray, features: Features) -> None:
        """Store (batch, tokens, width) values by their mask."""
        assert features.mask is not None
        for row, values, mask in zip(rows, features.values.float().cpu(), features.mask.cpu(), strict=True):
            self.values[self.offsets[row] : self.offsets[row + 1]] = values[mask]

    def take(self, rows: np.ndarray) -> Features:
        """Return right-padded (rows, tokens, width) values and their mask."""
        parts = [self.values[self.offsets[row] : self.offsets[row + 1]] for row in rows]
        values: Tensor = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)
        lengths = torch.tensor([len(part) for part in parts])
        return Features(values, torch.arange(values.shape[1]) < lengths.unsqueeze(1))


def table_for(features: Features, lengths: np.ndarray) -> FeatureTable:
    """Return an empty table for all rows, shaped like one batch's features.

    Args:
        features: Of any batch.
        lengths: Tokens per row, of all rows.
    """
    if features.mask is not None:
        return TokenTable(lengths, features.values.shape[-1])
    return DenseTable(len(lengths), tuple(features.values.shape[1:]))
