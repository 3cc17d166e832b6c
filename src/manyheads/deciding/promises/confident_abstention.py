"""A threshold below which a head abstains, whose error holds with a confidence: learn-then-test risk control.

Learn then test (Angelopoulos et al. 2021) tests, for some thresholds, the hypothesis that more than ``max_error`` of
the answers are wrong. Given the number of answers, the number of wrong ones is binomial, and the p-value is exact ::

    p(threshold) = P(Binomial(answered, max_error) <= errors)

Thresholds are tested from high to low, from three starts with a third of ``1 - confidence`` each, and from each start
until one fails (fixed sequence testing, MAPIE's ``FWERFixedSequenceTesting``). The lowest one that passed is chosen.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom

from manyheads.deciding.promises.abstention import check_rows, too_many_errors
from manyheads.deciding.promises.risk_coverage import RiskCoverage
from manyheads.errors import MissingExtraError

# Number of tested thresholds, of which each answers the same factor more rows than the one before.
_THRESHOLDS = 50
_STARTS = 3


def confident_threshold(curve: RiskCoverage, max_error: float, confidence: float, owner: str) -> float:
    """Return the lowest threshold that passes.

    Args:
        curve: The curve of labelled rows.
        max_error: The largest share of wrong answers.
        confidence: The probability, over draws of the rows, that the share holds.
        owner: The table and the head, for messages.

    Raises:
        MissingExtraError: MAPIE is not installed.
        DataError: too few rows, or no threshold passes.
    """
    try:
        from mapie.risk_control import FWERFixedSequenceTesting, control_fwer
    except ImportError:
        raise MissingExtraError("A confidence needs MAPIE: pip install 'manyheads[evaluate]'") from None
    promise = f"max_error={max_error:g} with confidence={confidence:g}"
    least = rows_needed(max_error, confidence)
    check_rows(curve.rows, least, promise, owner)
    points = tested_points(curve, least)
    method = FWERFixedSequenceTesting(n_starts=min(_STARTS, len(points)))
    passed = control_fwer(p_values(curve, max_error)[points], 1 - confidence, fwer_method=method)
    if not len(passed):
        raise too_many_errors(curve, promise, owner)
    return float(curve.thresholds[points[max(passed)]])


def p_values(curve: RiskCoverage, max_error: float) -> np.ndarray:
    """Return the p-value of the hypothesis that the error is larger than ``max_error``, at each point (points,)."""
    values: np.ndarray = binom.cdf(curve.errors, curve.answered, max_error)
    return values


def rows_needed(max_error: float, confidence: float) -> int:
    """Return the least number of answers with which a start passes, if all are right."""
    return math.ceil(math.log((1 - confidence) / _STARTS) / math.log1p(-max_error))


def tested_points(curve: RiskCoverage, least: int) -> np.ndarray:
    """Return the points to test, ascending. They depend on the scores of the rows, not on their labels."""
    wanted = np.geomspace(least, curve.rows, _THRESHOLDS).round()
    found: np.ndarray = np.unique(np.searchsorted(curve.answered, wanted))
    return found
