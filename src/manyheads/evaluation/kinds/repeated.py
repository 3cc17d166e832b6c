"""Measures of several predictions of the same rows, as of repeated cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from manyheads.evaluation.kinds.base import LabelMetrics, Measures, Statements
from manyheads.evaluation.kinds.label_scores import LabelScores
from manyheads.evaluation.row_sums import RowSums, Sums


class RepeatedMeasures(Measures):
    """The mean of each metric over several predictions of the same rows. What belongs to single rows, such as mistakes,
    is that of the first predictions: a mean of predictions would be better than any of the models.

    Args:
        each: The measures of each prediction, at least one, with the rows in the same order.
    """

    def __init__(self, each: Sequence[Measures]) -> None:
        super().__init__(each[0].rows)
        self.short, self.slice_metric = each[0].short, each[0].slice_metric  # type: ignore[misc]
        self._first, self._each = each[0], list(each)

    @cached_property
    def sums(self) -> RowSums:
        """The numbers of all predictions side by side."""
        return RowSums.side_by_side([one.sums for one in self._each])

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return the mean of each metric."""
        parts = [one.from_sums(RowSums.of_place(sums, place)) for place, one in enumerate(self._each)]
        return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}

    def from_ranks(self) -> dict[str, float]:
        """Return the mean of each metric of ranks."""
        parts = [one.from_ranks() for one in self._each]
        return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}

    @property
    def right(self) -> np.ndarray:
        """(rows,) booleans, of the first predictions."""
        return self._first.right

    @property
    def mistake_scores(self) -> np.ndarray:
        """(rows,) of the first predictions."""
        return self._first.mistake_scores

    def described(self, row: int) -> tuple[Any, Any]:
        """Return the label of a row and the first answer."""
        return self._first.described(row)

    @property
    def counts_as_right_or_wrong(self) -> bool:
        """Whether an answer is either right or wrong."""
        return self._first.counts_as_right_or_wrong

    def by_label(self) -> Sequence[LabelMetrics]:
        """Return metrics of each label, of the first predictions."""
        return self._first.by_label()

    @property
    def label_scores(self) -> Sequence[LabelScores]:
        """The first scores of each label."""
        return self._first.label_scores

    def numbers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the true and the first predicted numbers."""
        return self._first.numbers()

    def confusion(self) -> np.ndarray | None:
        """Return counts of the first predictions."""
        return self._first.confusion()

    def statements(self) -> Statements | None:
        """Return the first probabilities."""
        return self._first.statements()

    def confidence(self) -> np.ndarray | None:
        """Return the first predictions' confidence."""
        return self._first.confidence()

    def abstained(self) -> np.ndarray | None:
        """Return in which rows the first predictions abstain."""
        return self._first.abstained()

    def sets(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the first prediction sets."""
        return self._first.sets()

    def label_positions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return the label positions of the first predictions."""
        return self._first.label_positions()
