"""One head's labelled training rows: where their features lie, their targets, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.data.split import folds_by_text
from manyheads.features import FeatureTable
from manyheads.features.word_table import WordTable
from manyheads.heads import Head
from manyheads.taps import Tap
from manyheads.types import MISSING, Features

# With fewer labelled rows one held-out fifth says too little; every fifth is held out once instead.
_FEW = 1000
_FOLDS = 5


@dataclass(frozen=True)
class HeadTrainingSet:
    """What a head learns from.

    Attributes:
        tables: Features by tap.
        taps: The head's taps.
        places: Row of the tables for each labelled row (n,).
        targets: Encoded targets (n, ...), none of them wholly missing.
        texts: The rows' texts: equal ones are never on both sides of a split.
        class_weights: As the loss takes them.
        seed: Of the folds.
        read: Whether another head learns from what is said of them; then each is held out once, however many they are.
    """

    tables: Mapping[Tap, FeatureTable]
    taps: tuple[Tap, ...]
    places: np.ndarray
    targets: np.ndarray
    texts: list[Any]
    class_weights: Tensor | None
    seed: int
    read: bool = False

    @property
    def all(self) -> np.ndarray:
        """Every labelled row."""
        return np.arange(len(self.places))

    @cached_property
    def folds(self) -> np.ndarray:
        """Fold of each row (n,); with many rows only fold 0 is ever held out, and -1 marks the others."""
        count = min(_FOLDS, len({str(text) for text in self.texts}))
        folds = folds_by_text(self.texts, max(count, 2), self.seed)
        return folds if self.read or len(folds) < _FEW else np.where(folds == 0, 0, -1)

    def features(self, rows: np.ndarray) -> list[Features]:
        """Return the features of some of the labelled rows, one item per tap."""
        return [self.feature(place, rows) for place in range(len(self.taps))]

    def feature(self, place: int, rows: np.ndarray) -> Features:
        """Return the features of some of the labelled rows that the tap at this place reads."""
        return self.tables[self.taps[place]].take(self.places[rows])


def class_weights_of(head: Head, targets: np.ndarray) -> Tensor | None:
    """Return what the loss weighs with: as given, or balanced over these targets."""
    if head.spec.class_weights == "balanced":
        return head.spec.balanced_weights(torch.from_numpy(targets))
    given = head.spec.class_weights
    return None if given is None else torch.tensor(given, dtype=torch.float32)


def by_words(rows: HeadTrainingSet) -> HeadTrainingSet:
    """Return a token head's labelled rows as one row per labelled word, which is what its loss is a mean of.

    Words of one text have one text, so that they stay on one side of every split.
    """
    text, word = np.nonzero(rows.targets != MISSING)
    tables = {tap: WordTable(table, rows.places[text], word) for tap, table in rows.tables.items()}
    return replace(
        rows,
        tables=tables,
        places=np.arange(len(text)),
        targets=rows.targets[text, word],
        texts=[rows.texts[row] for row in text],
    )


def word_rows(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the row of each labelled word, in the order of :func:`by_words`.

    Args:
        rows: The labelled rows (n,).
        targets: Theirs (n, most words).
    """
    return np.repeat(rows, (targets != MISSING).sum(axis=1))
