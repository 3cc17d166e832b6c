"""Texts with labels that a baseline is fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.heads import Targets
from manyheads.runtime.words import Place


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Texts with one head's labels.

    Attributes:
        texts: One text, or pair of texts, per row.
        targets: Their labels.
        words: For a head that labels words, the characters of each labelled word of each text.
    """

    texts: Sequence[Any]
    targets: Targets
    words: Sequence[Sequence[Place]] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> TrainingRows:
        """Return some rows, in the order given."""
        numbers = rows.tolist()
        words = None if self.words is None else [self.words[row] for row in numbers]
        return TrainingRows([self.texts[row] for row in numbers], self.targets.take(rows), words)

    def labelled(self) -> TrainingRows:
        """Return the rows with a label."""
        return self.take(np.flatnonzero(self.targets.labelled))

    @property
    def all_words(self) -> list[str]:
        """The words of all texts end to end, in lower case."""
        assert self.words is not None
        rows = zip(self.texts, self.words, strict=True)
        return [text[start:end].lower() for text, places in rows for start, end in places]
