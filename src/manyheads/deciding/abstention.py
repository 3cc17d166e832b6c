"""Thresholds below which a head abstains, from the risk-coverage curve of labelled rows.

``max_error``, without a confidence::

    the lowest threshold with (errors + 1) / (answered + 1) <= max_error

so that the error of the answers to new texts is at most ``max_error`` on average over draws of the rows. The ones make
up for the choice of the threshold on the same rows, as in conformal risk control (Angelopoulos et al. 2024, equation 4).

``answered``, a share c of texts like the n rows to answer at least, as a conformal quantile (Vovk et al. 2005)::

    the k-th lowest score with k = floor((1 - c) (n + 1))
"""

from __future__ import annotations

import math

import numpy as np

from manyheads.deciding.risk_coverage import RiskCoverage
from manyheads.errors import DataError, counted

# Fewer rows than this divided by max_error find a threshold in luckier draws only, which then err more often.
_ROWS_PER_ERROR = 5


def threshold_for_error(curve: RiskCoverage, max_error: float, owner: str) -> float:
    """Return the lowest threshold at which at most a share of the answers is wrong, on average.

    Args:
        curve: The curve of labelled rows.
        max_error: The largest error of the answers.
        owner: The table and the head, for messages.

    Raises:
        DataError: too few rows, or even the surest answers are wrong more often.
    """
    check_rows(curve.rows, math.ceil(_ROWS_PER_ERROR / max_error), f"max_error={max_error:g}", owner)
    good = np.flatnonzero((curve.errors + 1) / (curve.answered + 1) <= max_error)
    if not len(good):
        raise too_many_errors(curve, max_error, owner)
    return float(curve.thresholds[good[-1]])


def threshold_for_share(scores: np.ndarray, share: float, owner: str) -> float:
    """Return the highest threshold that at least a share of texts like these reaches, on average.

    Args:
        scores: Abstention score of each row (rows,).
        share: The share.
        owner: The table and the head, for messages.

    Raises:
        DataError: too few rows.
    """
    # Without the small number, (1 - 0.9) * 10 is less than 1.
    place = math.floor((1 - share) * (len(scores) + 1) + 1e-9)
    check_rows(len(scores), math.ceil(1 / (1 - share) - 1 - 1e-9), f"answered={share:g}", owner)
    return float(np.sort(scores)[place - 1])


def check_rows(rows: int, needed: int, promise: str, owner: str) -> None:
    """Check that there are enough rows for a promise.

    Raises:
        DataError: there are fewer.
    """
    if rows < needed:
        raise DataError(
            f"{owner}: {promise} needs at least {counted(needed, 'labelled row')}, got {rows:,}; add rows, or ask for "
            "less"
        )


def too_many_errors(curve: RiskCoverage, max_error: float, owner: str) -> DataError:
    """Return the error that no threshold keeps a promise on these rows."""
    least = (curve.errors / curve.answered)[curve.answered >= min(_ROWS_PER_ERROR / max_error, curve.rows)].min()
    return DataError(
        f"{owner}: no threshold keeps max_error={max_error:g} on {counted(curve.rows, 'labelled row')}; the lowest "
        f"error of many answers is {least:.3f}; add rows, or allow a larger error"
    )
