"""A threshold below which a head abstains, whose error holds with a confidence: learn-then-test risk control.

Learn then test (Angelopoulos et al. 2022) tests for each of some thresholds the hypothesis that more than ``max_error``
of the answers are wrong. Given the number of answers, the number of wrong ones is binomial, so the p-value is exact::

    p(threshold) = P(Binomial(answered, max_error) <= errors)

Thresholds are tested from high to low, from three starts, each with a third of ``1 - confidence``; each start goes on
until a threshold fails (fixed sequence testing; MAPIE's ``FWERFixedSequenceTesting``). The lowest threshold that passed
is chosen.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom

from manyheads.deciding.abstention import check_rows, too_many_errors
from manyheads.deciding.risk_coverage import RiskCoverage
from manyheads.errors import MissingExtraError

# The tested thresholds answer numbers of rows between the least that can pass and all, in a geometric series.
_THRESHOLDS = 50
_STARTS = 3


def confident_threshold(curve: RiskCoverage, max_error: float, confidence: float, owner: str) -> float:
    """Return the lowest threshold that passes.

    Args:
        curve: The curve of labelled rows.
        max_error: The largest error of the answers.
        confidence: The probability, over draws of the rows, that the error holds.
        owner: The table and the head, for messages.

    Raises:
        MissingExtraError: MAPIE is not installed.
        DataError: too few rows, or no threshold passes.
    """
    try:
        from mapie.risk_control import FWERFixedSequenceTesting, control_fwer
    except ImportError:
        raise MissingExtraError(
            "confidence= needs MAPIE; install it with: pip install 'manyheads[evaluate]'"
        ) from None
    least = rows_needed(max_error, confidence)
    check_rows(curve.rows, least, f"max_error={max_error:g} with confidence={confidence:g}", owner)
    points = tested_points(curve, least)
    starts = min(_STARTS, len(points))
    passed = control_fwer(
        p_values(curve, max_error)[points], 1 - confidence, fwer_method=FWERFixedSequenceTesting(n_starts=starts)
    )
    if not len(passed):
        raise too_many_errors(curve, max_error, owner)
    return float(curve.thresholds[points[int(max(passed))]])


def p_values(curve: RiskCoverage, max_error: float) -> np.ndarray:
    """Return the p-value of the hypothesis that the error is larger than ``max_error``, at each point (points,)."""
    values: np.ndarray = binom.cdf(curve.errors, curve.answered, max_error)
    return values


def rows_needed(max_error: float, confidence: float) -> int:
    """Return the least number of answers, all of them right, with which a start passes."""
    return math.ceil(math.log((1 - confidence) / _STARTS) / math.log(1 - max_error))


def tested_points(curve: RiskCoverage, least: int) -> np.ndarray:
    """Return the points to test: they depend on the scores of the rows, not on their labels, ascending."""
    wanted = np.geomspace(least, curve.rows, _THRESHOLDS)
    found: np.ndarray = np.unique(np.searchsorted(curve.answered, np.round(wanted)).clip(max=len(curve.answered) - 1))
    return found
