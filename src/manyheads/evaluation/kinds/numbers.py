"""What measures of all kinds that predict one number share."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from manyheads.evaluation.kinds.base import Measures
from manyheads.evaluation.scored_rows import ScoredRows


class NumberMeasures(Measures):
    """Measures of one number per row."""

    slice_metric: ClassVar[str] = "mean_absolute_error"

    def __init__(self, rows: ScoredRows) -> None:
        super().__init__(rows)
        self.true: np.ndarray = rows.targets.astype(np.float64)
        self.predicted: np.ndarray = rows.scores[:, 0].astype(np.float64)

    @property
    def counts_as_right_or_wrong(self) -> bool:
        """No: a number is more or less wrong."""
        return False

    @property
    def right(self) -> np.ndarray:
        """(rows,) booleans: whether the number is exactly the row's."""
        right: np.ndarray = self.true == self.predicted
        return right

    @property
    def mistake_scores(self) -> np.ndarray:
        """(rows,) the absolute error."""
        errors: np.ndarray = np.abs(self.true - self.predicted)
        return errors

    def described(self, row: int) -> tuple[Any, Any]:
        """Return the number and the predicted number."""
        return float(self.true[row]), float(self.predicted[row])

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the true and the predicted number of each row."""
        return self.true, self.predicted

    def from_ranks(self) -> dict[str, float]:
        """Return Spearman's rank correlation, NaN if all numbers are equal."""
        from scipy.stats import spearmanr

        if len(np.unique(self.true)) < 2 or len(np.unique(self.predicted)) < 2:
            return {"spearman": float("nan")}
        return {"spearman": float(spearmanr(self.true, self.predicted).statistic)}
