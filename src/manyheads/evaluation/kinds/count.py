"""Measures of heads that count."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np
from scipy.special import xlogy

from manyheads.evaluation.kinds.numbers import NumberMeasures
from manyheads.evaluation.row_sums import RowSums, Sums, ratio


class CountMeasures(NumberMeasures):
    """Measures of one count per row. With the count y and the expected count m, a row's Poisson deviance is::

    2 (y log(y / m) - y + m)
    """

    short: ClassVar[tuple[str, ...]] = ("d2", "mean_absolute_error", "mean_poisson_deviance")

    @cached_property
    def sums(self) -> RowSums:
        """Count of rows, number, number times its logarithm, deviance and absolute error."""
        true, predicted = self.true, self.predicted
        deviance = 2 * (xlogy(true, true / predicted) - true + predicted)
        parts = [np.ones(len(true)), true, xlogy(true, true), deviance, np.abs(true - predicted)]
        return RowSums({"numbers": np.stack(parts, axis=1)})

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return the share of the deviance that is explained, NaN if all counts are equal, and the two errors."""
        count, total, logarithms, deviance, absolute = sums["numbers"].T
        around_mean = 2 * (logarithms - xlogy(total, ratio(total, count, np.nan)))
        spread = np.where(around_mean <= 1e-12 * np.maximum(total, 1), 0, around_mean)
        return {
            # Like R squared, but for the Poisson deviance, which no constant but the mean explains.
            "d2": 1 - ratio(deviance, spread, np.nan),
            "mean_absolute_error": ratio(absolute, count, np.nan),
            "mean_poisson_deviance": ratio(deviance, count, np.nan),
        }
