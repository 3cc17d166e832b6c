"""Metrics, numbers and intervals as people read them."""

from __future__ import annotations

import math

from manyheads.evaluation.resamples import Interval


def words(metric: str) -> str:
    """Return a metric's name as people read it."""
    return metric.replace("_", " ")


def number(value: float | None) -> str:
    """Return a number with three digits after the point, or four significant ones if it is large."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def ends_of(ends: Interval | None) -> str:
    """Return the ends of an interval."""
    return "-" if ends is None else f"{number(ends.low)} to {number(ends.high)}"


def between(ends: Interval | None) -> str:
    """Return the ends of an interval of a share, in brackets."""
    return "" if ends is None else f" (95% interval {ends.low:.1%} to {ends.high:.1%})"
