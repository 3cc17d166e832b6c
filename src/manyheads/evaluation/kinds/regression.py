"""Measures of regression heads."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from manyheads.evaluation.kinds.numbers import NumberMeasures
from manyheads.evaluation.row_sums import RowSums, Sums, ratio


class RegressionMeasures(NumberMeasures):
    """Measures of one number per row."""

    short: ClassVar[tuple[str, ...]] = ("r2", "mean_absolute_error", "root_mean_squared_error")

    @cached_property
    def sums(self) -> RowSums:
        """Count, number, its square (both from the mean of all rows), squared and absolute error of each row."""
        # R squared is the same from any origin; near the mean, squares lose no digits.
        from_mean, error = self.true - self.true.mean(), self.true - self.predicted
        parts = [np.ones(len(error)), from_mean, from_mean**2, error**2, np.abs(error)]
        return RowSums({"numbers": np.stack(parts, axis=1)})

    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return R squared, which is NaN if all numbers are equal, and the two errors."""
        count, total, total_squared, squared, absolute = sums["numbers"].T
        around_mean = total_squared - ratio(total**2, count)
        spread = np.where(around_mean <= 1e-12 * total_squared, 0, around_mean)
        return {
            "r2": 1 - ratio(squared, spread, np.nan),
            "mean_absolute_error": ratio(absolute, count, np.nan),
            "root_mean_squared_error": np.sqrt(ratio(squared, count, np.nan)),
        }
