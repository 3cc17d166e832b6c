"""The vectors of single words, as a table of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from manyheads.features import FeatureTable
from manyheads.types import Features

# Texts whose words are taken from a table at once.
_TEXTS = 256


@dataclass(frozen=True)
class WordTable(FeatureTable):
    """The vectors of single words, of a table that has them by text.

    Attributes:
        table: By text.
        texts: Row of the table for each word (words,).
        words: The word's number in its text (words,).
    """

    table: FeatureTable
    texts: np.ndarray
    words: np.ndarray

    @property
    def by_token(self) -> bool:
        """False: a row is a word."""
        return False

    def take(self, rows: np.ndarray) -> Features:
        """Return (rows, width)."""
        texts, where = np.unique(self.texts[rows], return_inverse=True)
        order = np.argsort(where, kind="stable")
        values = None
        for start in range(0, len(texts), _TEXTS):
            mine = order[np.searchsorted(where[order], start) : np.searchsorted(where[order], start + _TEXTS)]
            found = self.table.take(texts[start : start + _TEXTS]).values
            picked = found[torch.from_numpy(where[mine] - start), torch.from_numpy(self.words[rows[mine]])]
            values = picked.new_empty((len(rows), picked.shape[1])) if values is None else values
            values[torch.from_numpy(mine)] = picked
        assert values is not None, "no words were asked for"
        return Features(values)
