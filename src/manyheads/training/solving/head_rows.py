"""One head's labelled training rows: where their features lie, their targets, and which are held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.data.split import folds_by_text
from manyheads.features import FeatureTable
from manyheads.heads import Head, Targets
from manyheads.taps import Tap
from manyheads.types import Features

# With fewer labelled rows one held-out fifth says too little; every fifth is held out once instead.
_FEW = 1000
_FOLDS = 5


@dataclass(frozen=True)
class HeadTrainingSet:
    """What a head learns from.

    Attributes:
        tables: Features by tap, one row per item.
        taps: The head's taps.
        targets: Encoded targets (n, ...) of the labelled items, rows or words.
        texts: Each item's text: equal ones are never on both sides of a split.
        class_weights: As the loss takes them.
        seed: Of the folds.
        read: Whether another head learns from what is said of them; then each is held out once, however many they are.
    """

    tables: Mapping[Tap, FeatureTable]
    taps: tuple[Tap, ...]
    targets: np.ndarray
    texts: list[Any]
    class_weights: Tensor | None
    seed: int
    read: bool = False

    @property
    def all(self) -> np.ndarray:
        """Every labelled row."""
        return np.arange(len(self.targets))

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
        return self.tables[self.taps[place]].take(rows)


def class_weights_of(head: Head, targets: Targets) -> Tensor | None:
    """Return what the loss weighs with: as given, or balanced over these targets."""
    if head.spec.class_weights == "balanced":
        return head.spec.balanced_weights(torch.from_numpy(targets.items().targets))
    given = head.spec.class_weights
    return None if given is None else torch.tensor(given, dtype=torch.float32)
