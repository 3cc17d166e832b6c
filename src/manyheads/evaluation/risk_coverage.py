"""The risk-coverage curve of a report: few points, and the coverage at 5% risk (see ``deciding/promises``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyheads.deciding.promises.risk_coverage import risk_coverage as whole_curve

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
    curve = whole_curve(confidence, ~right)
    allowed = curve.coverage[curve.risk <= RISK]
    kept = np.unique(np.linspace(0, len(curve.answered) - 1, _POINTS).round().astype(np.int64))
    return RiskCoverage(
        tuple(curve.coverage[kept].tolist()),
        tuple(curve.risk[kept].tolist()),
        tuple(curve.thresholds[kept].tolist()),
        float(allowed.max(initial=0.0)),
    )
