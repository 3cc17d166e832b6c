"""Compare alternatives by their errors on the same rows: differences, standard errors, the one-standard-error rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import xlogy

# Share of the error that is too small to be worth another tap, even where the difference is certain, and the least such
# difference, as a share of the variance or the entropy.
_NEGLIGIBLE_SHARE = 0.01
_NEGLIGIBLE = 0.001


def spread(target_scores: np.ndarray) -> float:
    """Return the mean squared distance of fp64 (rows, scores) from their mean row; 1 where they do not differ."""
    distances = target_scores - np.nanmean(target_scores, axis=0)
    return float(np.nansum(distances**2)) / len(target_scores) or 1.0


def entropy(shares: np.ndarray) -> float:
    """Return the entropy in nats of the mean of class shares (rows, classes); 1 where all rows have one class."""
    mean = shares.mean(axis=0, dtype=np.float64)
    return float(-xlogy(mean, mean).sum()) or 1.0


def margin(errors: np.ndarray, best: np.ndarray) -> tuple[float, float]:
    """Return the mean difference between errors (rows,) and the best errors (rows,), and its standard error."""
    difference = errors - best
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def negligible(errors: np.ndarray) -> float:
    """Return the difference from the mean of these errors (rows,) that is too small to be worth another tap."""
    return max(_NEGLIGIBLE, _NEGLIGIBLE_SHARE * float(errors.mean()))


def simplest_near_best(errors: Sequence[np.ndarray]) -> int:
    """Return the index of the first alternative within one standard error of the best (Breiman et al. 1984, section
    3.4.3), or negligibly worse.

    Args:
        errors: Per alternative, the errors of the same rows (rows,); the simplest alternative first.
    """
    return _near_best(errors).index(True)


def largest_near_best(errors: Sequence[np.ndarray]) -> int:
    """Return the index of the last alternative within one standard error of the best, or negligibly worse: the choice
    among alternatives that were fitted on a sample, since on all rows larger ones gain more.

    Args:
        errors: As of ``simplest_near_best``.
    """
    return len(errors) - 1 - _near_best(errors)[::-1].index(True)


def _near_best(errors: Sequence[np.ndarray]) -> list[bool]:
    best = min(errors, key=lambda alternative: float(alternative.mean()))
    least = negligible(best)
    return [excess <= max(error, least) for excess, error in (margin(one, best) for one in errors)]
