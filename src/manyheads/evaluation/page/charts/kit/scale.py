"""Scales from numbers to places in a picture, and round numbers to mark on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """A linear scale.

    Attributes:
        low: The number at ``start``.
        high: The number at ``end``.
        start: A place.
        end: Another place.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a number."""
        return self.start + (self.end - self.start) * self._share(value)

    @property
    def ticks(self) -> Sequence[float]:
        """Round numbers on the scale, ascending."""
        return round_numbers(self.low, self.high)

    def _share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low or 1.0)


class LogScale(Scale):
    """A scale on which equal ratios are equally far apart, for numbers above 0."""

    @property
    def ticks(self) -> Sequence[float]:
        """The numbers 1, 2 and 5 times a power of ten on the scale, or of these only the powers if they are many."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        steps = (1, 2, 5) if len(powers) <= 3 else (1,)
        return [found for power in powers for step in steps if self.low <= (found := step * 10.0**power) <= self.high]

    def _share(self, value: float) -> float:
        return math.log(value / self.low) / (math.log(self.high / self.low) or 1.0)


def round_numbers(low: float, high: float, most: int = _MOST_TICKS) -> list[float]:
    """Return at most so many multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, as many as fit."""
    if not high > low:
        return [low]
    least = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def rounded_range(values: Sequence[float], from_zero: bool = False) -> tuple[float, float]:
    """Return a range with round ends around numbers, at least one."""
    low, high = (min(0.0, *values) if from_zero else min(values)), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    ticks = round_numbers(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def tick_text(value: float) -> str:
    """Return a number as it stands at an axis."""
    return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value:,.6g}"
