"""Measures of heads with several labels per row."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from manyheads.evaluation.kinds.base import LEAST, LabelMetrics, Measures, Statements
from manyheads.evaluation.kinds.label_scores import LabelScores
from manyheads.evaluation.kinds.labels import f1_scores, label_metrics, rank_metrics
from manyheads.evaluation.row_sums import RowSums, Sums, ratio
from manyheads.evaluation.scored_rows import ScoredRows
from manyheads.heads import MultiLabel
from manyheads.heads.decision import DEFAULT_THRESHOLD


class MultiLabelMeasures(Measures):
    """Measures of any number of labels per row, decided at the stored thresholds. A probability in the table counts as
    the more probable of yes and no.
    """

    short: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "average_precision", "exact_match")
    slice_metric: ClassVar[str] = "micro_f1"

    def __init__(self, rows: ScoredRows) -> None:
        super().__init__(rows)
        assert isinstance(rows.spec, MultiLabel)
        self.labels = rows.spec.classes
        self.known = len(self.labels) - rows.further
        thresholds = rows.decision.thresholds or [DEFAULT_THRESHOLD] * self.known
        self.thresholds = [*thresholds, *[DEFAULT_THRESHOLD] * rows.further]
        self.true: np.ndarray = rows.targets >= DEFAULT_THRESHOLD
        self.scores = rows.padded(rows.scores)
        self.predicted = rows.padded(rows.spec.chosen(rows.scores, rows.decision))

    @property
    def right(self) -> np.ndarray:
        """(rows,) booleans: whether exactly the row's labels are predicted."""
        right: np.ndarray = (self.true == self.predicted).all(axis=1)
        return right

    @property
    def mistake_scores(self) -> np.ndarray:
        """(rows,) the largest error of a probability."""
        errors: np.ndarray = np.abs(self.scores - self.rows.targets).max(axis=1)
        return errors

    def described(self, row: int) -> tuple[Any, Any]:
        """Return the labels and the predicted labels."""
        true, predicted = (
            tuple(self.labels[place] for place in np.flatnonzero(cells[row])) for cells in (self.true, self.predicted)
        )
        return true, predicted

    @cached_property
    def sums(self) -> RowSums:
        """Counts of each label, exact matches, log loss and Brier score."""
        scores, targets = self.scores.astype(np.float64), self.rows.targets.astype(np.float64)
        bounded, own = np.clip(scores[:, : self.known], LEAST, 1 - LEAST), targets[:, : self.known]
        losses = -(own * np.log(bounded) + (1 - own) * np.log1p(-bounded))
        return RowSums(
            {
                "true": self.true,
                "predicted": self.predicted,
                "hit": self.true & self.predicted,
                "rows": np.stack([np.ones(len(self.true)), self.right], axis=1),
                "log_loss": losses.mean(axis=1),
                "brier": ((scores - targets) ** 2).mean(axis=1),
            }
        )

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return F1 averaged in three ways, exact matches, log loss and Brier score."""
        rows, exact = sums["rows"].T
        true, predicted, hit = (sums[name].sum(axis=1) for name in ("true", "predicted", "hit"))
        f1 = f1_scores(sums)
        return {
            "micro_f1": ratio(2 * hit, true + predicted),
            "macro_f1": f1.mean(axis=1),
            "weighted_f1": ratio((f1 * sums["true"]).sum(axis=1), true),
            "micro_precision": ratio(hit, predicted),
            "micro_recall": ratio(hit, true),
            "exact_match": ratio(exact, rows, np.nan),
            "log_loss": ratio(sums["log_loss"][:, 0], rows, np.nan),
            "brier": ratio(sums["brier"][:, 0], rows, np.nan),
        }

    def from_ranks(self) -> dict[str, float]:
        """Return ROC AUC and average precision, which is 0 if no row has a label."""
        found = rank_metrics(self.label_scores)
        return found if self.true.any() else found | {"average_precision": 0.0}

    def by_label(self) -> Sequence[LabelMetrics]:
        """Return metrics of each label."""
        return label_metrics(self.sums.total(), self.labels, self.label_scores)

    @cached_property
    def label_scores(self) -> Sequence[LabelScores]:
        """The probability of each label."""
        columns = (self.true.T, self.scores.T, self.rows.padded(self.rows.logits).T, self.thresholds)
        return [LabelScores(*label) for label in zip(self.labels, *columns, strict=True)]

    def statements(self) -> Statements:
        """Return the probability of each label in each row."""
        scores = self.rows.scores.astype(np.float64)
        return Statements("labels of rows", scores.ravel(), self.true[:, : self.known].ravel())
