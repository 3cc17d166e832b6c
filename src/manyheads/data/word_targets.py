"""Targets of words: those that are read, and rows of words as rows to be solved on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from manyheads.data.texts.tokenize import Tokenized
from manyheads.types import MISSING


def stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return targets of several tables as one array; where rows hold words, the shorter ones are filled up."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([_widened(part, width) for part in parts])


def _widened(targets: np.ndarray, width: int) -> np.ndarray:
    missing = np.full((len(targets), width - targets.shape[1]), MISSING, dtype=targets.dtype)
    return np.concatenate([targets, missing], axis=1) if missing.size else targets


def read_words(targets: np.ndarray, tokenized: Tokenized) -> np.ndarray:
    """Return targets (rows, most words) of the words that have a token, in their order; -100 behind them.

    Args:
        targets: Of all words (rows, most words).
        tokenized: The rows.
    """
    assert tokenized.words is not None
    kept = np.full((len(targets), max(map(len, tokenized.words), default=0)), MISSING, dtype=np.int64)
    for row, words in enumerate(tokenized.words):
        # A row without a label was not counted when the array was made.
        known = words.numbers[words.numbers < targets.shape[1]]
        kept[row, : len(known)] = targets[row, known]
    return kept
