"""Ordinal: exactly one of several ordered labels per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from manyheads.errors import HeadError, listed
from manyheads.heads.base import LEAST_SCORE, CellLosses, weighted
from manyheads.heads.kinds.one_label import OneLabelSpec
from manyheads.heads.kinds.shares import label_shares

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Ordinal(OneLabelSpec):
    """One of several ordered labels, by conditional probabilities (CORN: Shi, Cao and Raschka 2021).

    There is one logit fewer than labels. Logit ``k`` is that of ``P(y > k | y >= k)``, trained on the rows that reach
    label ``k``. The product of the first ``k + 1`` probabilities is ``P(y > k)``, which never increases with ``k``. The
    differences are the labels' probabilities.

    The predicted label is the paper's: the number of ``k`` with ``P(y > k) > 1/2``. This is the median, which minimizes
    the expected absolute error in ranks, and not always the most probable label. ``.score`` is its probability.

    A class weight applies to all tasks of the rows with this label. Label smoothing applies to yes and no of each task.
    A cell may be a mapping of labels to shares or votes, as for ``Multiclass``: the loss is the expected one, in which
    a row takes part in each task with the share of the labels that reach it.

    Args:
        labels: At least two label names, from the lowest to the highest.

    Examples:
        >>> head = model.add_head("level", mh.Ordinal(labels=["routine", "urgent", "emergency"], column="urgency"))
        >>> result = mh.train(model, table, text="note", heads=["level"])
        >>> model.predict(texts, heads=["level"])[0]["level"].label in head.spec.labels
        True
    """

    kind: ClassVar[str] = "ordinal"
    least_labels: ClassVar[int] = 2
    labels_from_column: ClassVar[bool] = False  # no column contains their order

    def with_new_label(self, label: object) -> Ordinal:
        """Raise: a label's place among the others is unknown.

        Raises:
            HeadError: always.
        """
        raise HeadError(f"Ordinal: no label can be added, since its place among {listed(self.labels)} is unknown")

    @property
    def main_metric(self) -> str:
        """Cohen's kappa with quadratic weights."""
        return "quadratic_kappa"

    @property
    def outputs(self) -> int:
        """One fewer than labels."""
        return len(self.labels) - 1

    def cell_losses(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> CellLosses:
        """Return the binary cross-entropy of each cell (row, task) that a row reaches, as the paper's loss over
        conditional subsets, whose mean is over all of these cells."""
        from torch.nn import functional as F

        reaching, beyond = self._tasks(targets, weighted(class_weights, logits), logits.dtype)
        labelled = reaching > 0
        weights = reaching[labelled]
        wanted = beyond[labelled] / weights * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits[labelled], wanted, weight=weights, reduction="none")
        return CellLosses(losses, weights, labelled)

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return each task's ``p (1 - p)`` over its own cells, as a share of all cells."""
        import torch

        reaching, _ = self._tasks(targets, None, logits.dtype)
        probabilities = logits.sigmoid()
        squares = probabilities * (1 - probabilities)
        cells = torch.where(reaching > 0, squares * reaching, 0.0)
        return cells.sum(dim=0) / reaching.sum().clamp(min=1)

    def raw_scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the labels' probabilities (rows, labels): products of the conditional ones."""
        # In logarithms: neither a far logit nor a long product loses its digits.
        beyond, short = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
        none = np.zeros_like(logits[..., :1])
        reached = np.concatenate([none, np.cumsum(beyond, axis=-1, dtype=logits.dtype)], axis=-1)
        probabilities: np.ndarray = np.exp(reached + np.concatenate([short, none], axis=-1))
        return probabilities

    def raw_logits(self, scores: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Return the logits (rows, labels - 1) of the conditional probabilities: ``log P(y > k) - log P(y = k)``."""
        bounded = np.maximum(scores, least)
        logits: np.ndarray = np.log(_reaching(bounded)[:, 1:]) - np.log(bounded[:, :-1])
        return logits

    def largest_scores(self, scores: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Return the probabilities with the largest ``P(y > k)`` among the windows for each ``k``: a text reaches the
        level of its highest window."""
        reaching = super().largest_scores(_reaching(scores), firsts)
        return -np.diff(reaching, axis=1, append=0.0)

    def positions(self, logits: np.ndarray) -> np.ndarray:
        """Return the medians of the labels as trained: a temperature can move the median of the calibrated scores, but
        not the label."""
        return medians(self.raw_scores(logits))

    def _tasks(self, targets: Tensor, class_weights: Tensor | None, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return the weight with which each row reaches each task ``k``, that of its labels from ``k`` on, and the
        weight with which it goes beyond, that of its labels after ``k``, both (rows, tasks). A row without a label
        reaches none.
        """
        shares = label_shares(targets, len(self.labels)).to(dtype)
        if class_weights is not None:
            shares = shares * class_weights
        from_label = shares.flip(1).cumsum(dim=1).flip(1)
        return from_label[:, :-1], from_label[:, 1:]


def _reaching(scores: np.ndarray) -> np.ndarray:
    """Return the probabilities (rows, labels) of each label or a higher one."""
    return np.cumsum(scores[:, ::-1], axis=1)[:, ::-1]


def medians(scores: np.ndarray) -> np.ndarray:
    """Return the position of the median (...) of probabilities (..., labels): how many labels more than half of the
    probability lies beyond."""
    beyond = np.cumsum(scores[..., :0:-1], axis=-1)
    places: np.ndarray = (beyond > 0.5).sum(axis=-1)
    return places
