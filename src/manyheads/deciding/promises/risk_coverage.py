"""The risk-coverage curve of a head that abstains (El-Yaniv and Wiener 2010).

With the n rows sorted by their abstention score, the surest first, and a threshold between two different scores ::

    answered(threshold)    number of rows with a score of at least the threshold
    errors(threshold)      number of wrong ones among them
    coverage               answered / n
    risk                   errors / answered
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The curve; the first point has the highest threshold, the last one answers all rows.

    Attributes:
        thresholds: Abstention score of the least sure answered row, fp64 (points,), descending.
        answered: Number of answered rows, int64 (points,).
        errors: Number of wrong answers, int64 (points,).

    Examples:
        >>> fit = mh.fit_decision(trained, "urgency", table, text="note", answered=0.8)
        >>> int(fit.curve.answered[-1]) == fit.rows
        True
    """

    thresholds: np.ndarray
    answered: np.ndarray
    errors: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.answered[-1])

    @property
    def coverage(self) -> np.ndarray:
        """Share of the rows that are answered, (points,)."""
        share: np.ndarray = self.answered / self.rows
        return share

    @property
    def risk(self) -> np.ndarray:
        """Share of the answered rows that are wrong, (points,)."""
        share: np.ndarray = self.errors / self.answered
        return share


def risk_coverage(scores: np.ndarray, wrong: np.ndarray) -> RiskCoverage:
    """Return the curve of some rows, with a point for each different score.

    Args:
        scores: Abstention score of each row (rows,), at least one.
        wrong: (rows,) booleans: the answer is wrong.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, errors = scores[order], np.cumsum(wrong[order])
    # Rows with equal scores are answered together.
    last = np.flatnonzero(np.append(ordered[1:] < ordered[:-1], True))
    return RiskCoverage(ordered[last].astype(np.float64), last + 1, errors[last])
