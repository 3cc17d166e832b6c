"""The windows of long texts: which text each one belongs to, and how numbers of windows become those of texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manyheads.heads.ragged import Ragged, offsets_of

# How the scores of a text's windows become those of the text.
POOLINGS = ("mean", "max")


@dataclass(frozen=True, eq=False)
class Windows:
    """Which windows each text was split into. A text that fits into one was not split.

    Attributes:
        offsets: (texts + 1,) int64, the first window of each text, all windows end to end.
        words: Place of each word of each text among the words of all windows, in the window that reads it; ``None``
            without words, or if no text was split.
    """

    offsets: np.ndarray
    words: Ragged | None = None

    @staticmethod
    def one_each(texts: int) -> Windows:
        """Return one window per text."""
        return Windows(np.arange(texts + 1))

    @property
    def counts(self) -> np.ndarray:
        """Number of windows of each text, int64 (texts,)."""
        return np.diff(self.offsets)

    @property
    def split(self) -> np.ndarray:
        """(texts,) booleans: the text has several windows."""
        split: np.ndarray = self.counts > 1
        return split

    def pooled(self, values: np.ndarray, pool: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return one row per text (texts, ...) of the rows of windows (windows, ...); those of texts that were not
        split are copied bit by bit.

        Args:
            values: The rows.
            pool: Takes the rows of the split texts, and the first one of each text; returns one per text.
        """
        pooled: np.ndarray = values[self.offsets[:-1]]
        split = self.split
        if split.any():
            rows = values[np.repeat(split, self.counts)]
            pooled[split] = pool(rows, offsets_of(self.counts[split])[:-1])
        return pooled


def mean_of_windows(values: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Return the mean of each text's rows (texts, ...).

    Args:
        values: (windows, ...).
        firsts: (texts,) the first row of each text.
    """
    counts = np.diff(np.append(firsts, len(values)))
    means: np.ndarray = np.add.reduceat(values, firsts, axis=0) / counts.reshape(-1, *[1] * (values.ndim - 1))
    return means


def largest_of_windows(values: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    """Return the largest of each text's rows (texts, ...), number by number; the arguments are those of
    ``mean_of_windows``.
    """
    largest: np.ndarray = np.maximum.reduceat(values, firsts, axis=0)
    return largest
