"""Thresholds below which a head abstains, fitted on labelled rows.

For ``max_error``, without a confidence, with the risk-coverage curve of the rows ::

    the lowest threshold with (errors + 2) / (answered + 1) <= max_error

so that the error of the answers to new texts is at most ``max_error`` on average over draws of the rows. One error is
that of the new text, as in conformal risk control (Angelopoulos et al. 2024, equation 4). The other makes up for the
choice of the lowest threshold on the same rows; without it, the error was measured to be up to 1.02 of ``max_error``.

For ``answered``, the share of texts like the n rows to answer at least, a conformal quantile (Vovk et al. 2005) ::

    the k-th lowest score with k = floor((1 - answered) (n + 1))
"""

from __future__ import annotations

import math

import numpy as np

from manyheads.deciding.promises.risk_coverage import RiskCoverage
from manyheads.errors import DataError, counted

# With fewer rows than this divided by max_error, a threshold is found in lucky draws only, which err more often.
_ROWS_PER_ERROR = 5
# Errors that are added to those of the rows.
_SPARE = 2
# Differences of this size are rounding: (1 - 0.9) * 10 is less than 1.
ROUNDING = 1e-9


def threshold_for_error(curve: RiskCoverage, max_error: float, owner: str) -> float:
    """Return the lowest threshold at which at most a share of the answers is wrong, on average.

    Args:
        curve: The curve of labelled rows.
        max_error: The share.
        owner: The table and the head, for messages.

    Raises:
        DataError: too few rows, or no threshold has so small an error.
    """
    check_rows(curve.rows, math.ceil(_ROWS_PER_ERROR / max_error - ROUNDING), f"max_error={max_error:g}", owner)
    found = lowest_threshold(curve, max_error)
    if found is None:
        raise too_many_errors(curve, f"max_error={max_error:g}", owner)
    return found


def lowest_threshold(curve: RiskCoverage, max_error: float) -> float | None:
    """Return the lowest threshold at which at most a share of the answers is wrong, or ``None``."""
    good = np.flatnonzero((curve.errors + _SPARE) / (curve.answered + 1) <= max_error)
    return float(curve.thresholds[good[-1]]) if len(good) else None


def threshold_for_share(scores: np.ndarray, share: float, owner: str) -> float:
    """Return the highest threshold that at least a share of texts like these reaches, on average.

    Args:
        scores: Abstention score of each row (rows,).
        share: The share.
        owner: The table and the head, for messages.

    Raises:
        DataError: too few rows.
    """
    check_rows(len(scores), math.ceil(share / (1 - share) - ROUNDING), f"answered={share:g}", owner)
    found = highest_threshold(scores, share)
    assert found is not None
    return found


def highest_threshold(scores: np.ndarray, share: float) -> float | None:
    """Return the highest threshold that at least a share of new scores reaches, or ``None`` if these are too few."""
    place = math.floor((1 - share) * (len(scores) + 1) + ROUNDING)
    return float(np.sort(scores)[place - 1]) if place else None


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


def too_many_errors(curve: RiskCoverage, promise: str, owner: str) -> DataError:
    """Return the error that no threshold keeps a promise."""
    surest = int(curve.answered[np.searchsorted(curve.answered, curve.rows / 10)])
    errors = int(curve.errors[np.searchsorted(curve.answered, surest)])
    return DataError(
        f"{owner}: no threshold keeps {promise}: {counted(errors, 'error')} among the {surest:,} surest of "
        f"{counted(curve.rows, 'labelled row')}; add rows, or allow more errors"
    )
