"""The labelled training rows of one head: features, targets and folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

# With fewer labelled rows one held-out fold is too noisy to compare settings on, and an exact solution is cheap.
MANY_ROWS = 1000
_FOLDS = 5
_NO_FOLD = -1


@dataclass(frozen=True)
class HeadTrainingSet:
    """The labelled items of one head, numbered from 0: training rows, or words of training rows.

    Attributes:
        tables: Features by tap, one row per labelled item.
        taps: The head's taps.
        targets: Encoded targets (n, ...), each with at least one label.
        classes: The classes of each item, which are spread over the folds; none for numbers.
        texts: The text of each item; equal texts are always in the same fold.
        class_weights: As the loss takes them.
        seed: Of the folds.
        sample_weight: Weight of each item, fp64 (n,), or ``None`` if all count alike.
        hold_out_all: Whether to fit, with the chosen settings, without each fold: where another head trains on
            out-of-fold scores, or thresholds are fitted on them.
        label_names: How many of the last items are names of labels: trained on, and never held out.
    """

    tables: Mapping[Tap, FeatureTable]
    taps: tuple[Tap, ...]
    targets: np.ndarray
    classes: Sequence[frozenset[int]]
    texts: list[Any]
    class_weights: Tensor | None
    seed: int
    sample_weight: Tensor | None = None
    hold_out_all: bool = False
    label_names: int = 0

    @property
    def rows(self) -> np.ndarray:
        """All row numbers (n,)."""
        return np.arange(len(self.targets))

    @property
    def own_rows(self) -> int:
        """Number of items that are no names of labels."""
        return len(self.targets) - self.label_names

    @cached_property
    def folds(self) -> np.ndarray:
        """Fold of each row (n,), from 0, and -1 for names of labels, which every fold trains on."""
        texts, classes = self.texts[: self.own_rows], self.classes[: self.own_rows]
        count = min(_FOLDS, len({str(text) for text in texts}))
        folds = folds_by_text(texts, max(count, 2), self.seed, classes)
        return np.concatenate([folds, np.full(self.label_names, _NO_FOLD, dtype=folds.dtype)])

    @property
    def compared_folds(self) -> list[int]:
        """The folds on which settings are compared: all of them, or the first one with many rows."""
        return [0] if self.own_rows >= MANY_ROWS else self.all_folds

    @property
    def all_folds(self) -> list[int]:
        """The numbers of all folds."""
        return list(range(int(self.folds.max()) + 1))

    def features(self, rows: np.ndarray) -> list[Features]:
        """Return the features of some rows, one item per tap."""
        return [self.features_of(tap, rows) for tap in self.taps]

    def features_of(self, tap: Tap, rows: np.ndarray) -> Features:
        """Return one tap's features of some rows."""
        return self.tables[tap].take(rows)


def class_weights_of(head: Head, targets: Targets, sample_weight: Tensor | None = None) -> Tensor | None:
    """Return the class weights for the loss: as given, or balanced over these targets, whose items have weights."""
    if head.spec.class_weights == "balanced":
        return head.spec.balanced_weights(torch.from_numpy(targets.items().targets), sample_weight)
    given = head.spec.class_weights
    return None if given is None else torch.tensor(given, dtype=torch.float32)
