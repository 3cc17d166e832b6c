"""Measures of heads with exactly one label per row: multi-class and ordinal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from manyheads.evaluation.kinds.base import LEAST, LabelMetrics, Measures, Statements
from manyheads.evaluation.kinds.label_scores import LabelScores
from manyheads.evaluation.kinds.labels import label_metrics, one_label_metrics, rank_metrics
from manyheads.evaluation.row_sums import RowSums, Sums, one_hot, ratio
from manyheads.evaluation.scored_rows import ScoredRows
from manyheads.heads import OneLabelSpec
from manyheads.heads.abstention import abstention_scores
from manyheads.heads.kinds.shares import most_probable


class OneLabelMeasures(Measures):
    """Measures of exactly one label per row. A row with shares of labels has the label of the largest one."""

    slice_metric: ClassVar[str] = "accuracy"

    def __init__(self, rows: ScoredRows) -> None:
        super().__init__(rows)
        assert isinstance(rows.spec, OneLabelSpec)
        self.labels = rows.spec.classes
        self.true = most_probable(rows.targets)
        self.favored: np.ndarray = rows.spec.positions(rows.logits)
        self.answers = rows.spec.answers(rows.logits, rows.scores, rows.decision)
        self.predicted = self.answers.positions
        self.scores = rows.padded(rows.scores)
        scores = self.scores.astype(np.float64)
        self.probabilities: np.ndarray = scores / scores.sum(axis=1, keepdims=True)

    @property
    def right(self) -> np.ndarray:
        """(rows,) booleans: whether the predicted label is the row's."""
        right: np.ndarray = self.true == self.predicted
        return right

    @property
    def mistake_scores(self) -> np.ndarray:
        """(rows,) the probability of the predicted label."""
        return np.take_along_axis(self.scores, self.predicted[:, None], axis=1)[:, 0]

    def described(self, row: int) -> tuple[Any, Any]:
        """Return the label and the predicted label."""
        return self.labels[self.true[row]], self.labels[self.predicted[row]]

    @cached_property
    def sums(self) -> RowSums:
        """Counts of each label, log loss and Brier score."""
        width = len(self.labels)
        counts = {
            "true": one_hot(self.true, width),
            "predicted": one_hot(self.predicted, width),
            "hit": one_hot(self.true, width, self.right),
        }
        return RowSums(counts | {"log_loss": self._log_losses(), "brier": self._squares()} | self._further_sums())

    def _further_sums(self) -> dict[str, np.ndarray]:
        return {}

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return accuracies, F1, log loss and Brier score."""
        losses, brier = sums["log_loss"], sums["brier"][:, 0]
        # For two labels scikit-learn gives half of the sum: the square of one probability's error.
        scale = 2 if len(self.labels) == 2 else 1
        return one_label_metrics(sums) | {
            "log_loss": ratio(losses[:, 0], losses[:, 1], np.nan),
            "brier": ratio(brier, scale * sums["true"].sum(axis=1), np.nan),
        }

    def from_ranks(self) -> dict[str, float]:
        """Return ROC AUC and average precision."""
        return rank_metrics(self.label_scores)

    def by_label(self) -> Sequence[LabelMetrics]:
        """Return metrics of each label."""
        return label_metrics(self.sums.total(), self.labels, self.label_scores)

    @cached_property
    def label_scores(self) -> Sequence[LabelScores]:
        """The probability of each label."""
        true = self.true[:, None] == np.arange(len(self.labels))
        columns = zip(self.labels, true.T, self.scores.T, strict=True)
        return [LabelScores(label, own, scores, scores, None) for label, own, scores in columns]

    def confusion(self) -> np.ndarray:
        """Return counts (true label, predicted label)."""
        width = len(self.labels)
        return np.bincount(self.true * width + self.predicted, minlength=width**2).reshape(width, width)

    def statements(self) -> Statements:
        """Return the probability of each predicted label."""
        return Statements("predicted labels", self.mistake_scores.astype(np.float64), self.right)

    def confidence(self) -> np.ndarray:
        """Return the abstention score of the head's decision."""
        return abstention_scores(self.rows.scores, self.rows.decision.abstain_by)

    def abstained(self) -> np.ndarray | None:
        """Return the rows whose abstention score is below the decision's limit."""
        return self.answers.abstained

    def sets(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return whether each row's set contains its label, and the sizes of the sets."""
        if self.answers.sets is None:
            return None
        contained = self.rows.padded(self.answers.sets)[np.arange(len(self.true)), self.true]
        return contained, self.answers.sets.sum(axis=1)

    def label_positions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the positions of the label, the favored one and the predicted one."""
        return self.true, self.favored, self.predicted

    def _shares(self) -> np.ndarray:
        """Return the share of each label (rows, labels)."""
        shares: np.ndarray = self.rows.spec.target_scores(self.rows.targets)
        return shares.astype(np.float64)

    def _log_losses(self) -> np.ndarray:
        """Return the log loss of each row and a one, both 0 in rows with a label that the head does not have."""
        known = len(self.labels) - self.rows.further
        counted = ~self._shares()[:, known:].any(axis=1)
        losses = -(self._shares() * np.log(np.clip(self.probabilities, LEAST, 1 - LEAST))).sum(axis=1)
        return np.stack([losses * counted, counted], axis=1)

    def _squares(self) -> np.ndarray:
        squares: np.ndarray = ((self.probabilities - self._shares()) ** 2).sum(axis=1)
        return squares
