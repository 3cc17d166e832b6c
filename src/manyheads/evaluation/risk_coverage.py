"""How many rows a head can answer with how many errors, if it leaves the least certain ones unanswered.

The rows are sorted by confidence. At each confidence c (El-Yaniv and Wiener 2010)::

    coverage(c) = share of rows with a confidence of at least c
    risk(c)     = share of these rows that are answered wrongly
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RISK = 0.05
# Points that are kept of the curve.
_POINTS = 200


@dataclass(frozen=True)
class RiskCoverage:
    """The risk at every coverage.

    Attributes:
        coverage: Shares of rows answered, ascending.
        risk: The share of wrong answers among them.
        confidence: The confidence from which on rows are answered.
        coverage_at_risk: The largest coverage with at most 5% wrong answers; 0 if there is none.
    """

    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    confidence: tuple[float, ...]
    coverage_at_risk: float


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> RiskCoverage:
    """Return the curve of rows, at least one; rows of equal confidence are answered together.

    Args:
        confidence: (rows,).
        right: (rows,) booleans.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    # The last row of each confidence.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    answered = ends + 1
    coverage, risk = answered / len(ranked), np.cumsum(~right[order])[ends] / answered
    allowed = coverage[risk <= RISK]
    kept = np.unique(np.linspace(0, len(ends) - 1, _POINTS).round().astype(np.int64))
    return RiskCoverage(
        tuple(coverage[kept].tolist()),
        tuple(risk[kept].tolist()),
        tuple(ranked[ends][kept].astype(np.float64).tolist()),
        float(allowed.max(initial=0.0)),
    )
