"""Measures of ordinal heads: errors in ranks, and agreement beyond chance."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from manyheads.evaluation.kinds.one_label import OneLabelMeasures
from manyheads.evaluation.row_sums import Sums, ratio


class OrdinalMeasures(OneLabelMeasures):
    """Measures of one of several ordered labels per row; ranks count from 0.

    With the true rank t and the predicted rank p of each of n rows, the quadratic kappa (Cohen 1968) is::

        1 - sum (t - p)^2 / sum over all pairs of rows i, j of (t_i - p_j)^2 / n
    """

    short: ClassVar[tuple[str, ...]] = ("accuracy", "mean_absolute_error", "quadratic_kappa", "log_loss")
    slice_metric: ClassVar[str] = "mean_absolute_error"

    def _further_sums(self) -> dict[str, np.ndarray]:
        true, predicted = self.true.astype(np.float64), self.predicted.astype(np.float64)
        ranks = [true, predicted, true**2, predicted**2, (true - predicted) ** 2, np.abs(true - predicted)]
        return {"ranks": np.stack(ranks, axis=1)}

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return the metrics of one label per row, and those of ranks."""
        count = sums["true"].sum(axis=1)
        true, predicted, true_squared, predicted_squared, squared, absolute = sums["ranks"].T
        by_chance = true_squared + predicted_squared - ratio(2 * true * predicted, count)
        found = super().from_sums(sums)
        return found | {
            "mean_absolute_error": ratio(absolute, count, np.nan),
            # It divides by what chance would get wrong: nothing, where all is one label.
            "quadratic_kappa": 1 - ratio(squared, np.where(by_chance < 1e-9 * count, 0, by_chance), np.nan),
        }
