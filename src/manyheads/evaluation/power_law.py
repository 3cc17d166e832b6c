"""Extrapolate a learning curve by a power law.

The error of a learner falls about as ``a + b n^-c`` with the number of training rows ``n``, down to a level ``a`` that
more rows do not improve (Cortes et al. 1993; Viering and Loog 2022 review such curves).

Symbols and shapes::

    n   (sizes,)          training rows
    e   (draws, sizes)    errors, one row per resample
    a, b                  at least 0; least squares for each c
    c                     the one with the least squares among _EXPONENTS
"""

from __future__ import annotations

import numpy as np

# Curves of real tables are within this range: 1/2 is usual, 1 the fastest that theory gives.
_EXPONENTS = np.linspace(0.1, 1.0, 19)


def extrapolated(rows: np.ndarray, errors: np.ndarray, at: float) -> np.ndarray:
    """Return the error (draws,) that is expected at another number of training rows.

    Args:
        rows: Numbers of training rows (sizes,), all different.
        errors: (draws, sizes).
        at: The number of training rows.
    """
    best = np.full(len(errors), np.inf)
    found = np.empty(len(errors))
    for exponent in _EXPONENTS:
        falling = (rows / at) ** -exponent
        level, factor = _non_negative(falling, errors)
        squares = ((level[:, None] + factor[:, None] * falling - errors) ** 2).sum(axis=1)
        better = squares < best
        best[better], found[better] = squares[better], (level + factor)[better]
    return found


def _non_negative(falling: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least squares ``level + factor falling = errors`` with both at least 0, each (draws,)."""
    centered = falling - falling.mean()
    factor = np.maximum(errors @ centered / (centered @ centered), 0)
    level = errors.mean(axis=1) - factor * falling.mean()
    through_zero = errors @ falling / (falling @ falling)
    return np.maximum(level, 0), np.where(level < 0, through_zero, factor)
