"""The logits and labels to which a decision is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from manyheads.data.split import folds_by_text, group_of_each


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Labelled items, rows or words, with the logits of weights that were not trained on them.

    Attributes:
        logits: (items, outputs).
        targets: (items, ...) encoded labels.
        texts: The text of each item.
        weights: Weight of each item, fp64 (items,), or ``None`` if all count alike.
    """

    logits: np.ndarray
    targets: np.ndarray
    texts: Sequence[Any]
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def known(self) -> HeldOut:
        """The items that have logits: those of the others are NaN, or there are none at all."""
        return self.take(np.flatnonzero(~np.isnan(self.logits).any(axis=1)))

    def take(self, items: np.ndarray) -> HeldOut:
        """Return some items, int64 (items,)."""
        weights = None if self.weights is None else self.weights[items]
        return HeldOut(self.logits[items], self.targets[items], [self.texts[item] for item in items.tolist()], weights)

    @cached_property
    def groups(self) -> np.ndarray:
        """The number of each item's text (items,), from 0: equal texts have one."""
        return group_of_each(self.texts)

    def mean(self, values: np.ndarray) -> float:
        """Return the mean of one number per item, with the items' weights."""
        return float(np.average(values, weights=self.weights))

    def error(self, values: np.ndarray) -> float:
        """Return the standard error of ``mean``, where texts are independent and items of one text are not."""
        weights = np.ones(len(self)) if self.weights is None else self.weights
        distances = np.bincount(self.groups, weights * (values - self.mean(values)))
        return float(np.sqrt((distances**2).sum()) / weights.sum())

    def folds(self, count: int, seed: int) -> np.ndarray:
        """Return the fold of each item (items,), from 0, equal texts in one fold."""
        return folds_by_text(self.texts, count, seed)
