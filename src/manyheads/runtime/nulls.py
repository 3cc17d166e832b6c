"""Null values of Python, numpy and pandas."""

from __future__ import annotations

import math

import numpy as np


def is_null(value: object) -> bool:
    """Return whether a value is ``None``, NaN, NaT or pandas' NA.

    Examples:
        >>> is_null(float("nan")), is_null(0)
        (True, False)
    """
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return value is None or type(value).__name__ in {"NAType", "NaTType"}
