"""The scores of one label against all others: how well they order the rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import rankdata


@dataclass(frozen=True, eq=False)
class LabelScores:
    """The scores of one label, for curves and metrics of their order.

    Attributes:
        label: The label.
        true: (rows,) booleans: the rows that have it.
        scores: (rows,) its probabilities.
        order: (rows,) numbers with the order of the probabilities, in which fp32 has more digits.
        threshold: The stored threshold, or ``None``.
    """

    label: object
    true: np.ndarray
    scores: np.ndarray
    order: np.ndarray
    threshold: float | None

    @cached_property
    def roc_auc(self) -> float | None:
        """Probability that a row with the label is before one without, ties counted half; ``None`` without both.

        With p rows with the label, n without, and ranks r from low to high (Hanley and McNeil 1982)::

            (sum of r over the rows with the label - p (p + 1) / 2) / (p n)
        """
        with_label = int(self.true.sum())
        without = len(self.true) - with_label
        if not with_label or not without:
            return None
        ranks = float(rankdata(self.order)[self.true].sum())
        return (ranks - with_label * (with_label + 1) / 2) / (with_label * without)

    @cached_property
    def average_precision(self) -> float | None:
        """Sum over the distinct scores, from high to low, of the precision so far times the recall that the score adds;
        ``None`` if no row has the label.
        """
        if not self.true.any():
            return None
        order = np.argsort(-self.order, kind="stable")
        # The last row of each distinct score.
        ends = np.flatnonzero(np.append(np.diff(self.order[order]) != 0, True))
        right = np.cumsum(self.true[order])[ends]
        added = np.diff(right, prepend=0)
        return float((added * right / (ends + 1)).sum() / right[-1])
