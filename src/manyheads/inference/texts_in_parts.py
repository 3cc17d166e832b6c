"""Texts as rows, in parts that different heads read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Protocol

import numpy as np

from manyheads.data.texts.texts import Texts
from manyheads.data.texts.tokenize import Tokenized
from manyheads.heads.windows import Windows


class WindowedPart(Protocol):
    """The rows that some heads read, and which text each row belongs to."""

    @property
    def tokenized(self) -> Tokenized:
        """The rows."""

    @property
    def windows(self) -> Windows:
        """Which text each row belongs to."""


@dataclass(frozen=True, eq=False)
class TextsInParts:
    """Texts as rows.

    Attributes:
        texts: The texts.
        parts: Their rows, for different heads. Prompts take room in every window, so that heads with prompts of another
            length read other windows, if a text is long.
        truncated: (texts,) booleans: the text was truncated.
        words: Per text, the first character of each of its words and the one after the last, int64 (words, 2), or
            ``None``.
    """

    texts: Texts
    parts: Sequence[WindowedPart]
    truncated: np.ndarray
    words: Sequence[np.ndarray] | None

    @property
    def windows(self) -> np.ndarray:
        """Number of windows of each text, int64 (texts,): the largest of all parts."""
        return reduce(np.maximum, (part.windows.counts for part in self.parts))

    @property
    def tokens(self) -> np.ndarray:
        """Number of tokens of each text that are read, int64 (texts,): those of all its windows, without prompts."""
        part = self.parts[0]
        counts: np.ndarray = np.add.reduceat(part.tokenized.lengths, part.windows.offsets[:-1])
        return counts
