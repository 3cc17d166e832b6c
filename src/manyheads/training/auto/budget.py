"""The time of a choice: what is left, and what still fits into it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """The seconds in which methods are compared and the chosen one is trained on all training rows.

    Args:
        seconds: All seconds.
        growth: All training rows over those that a method is compared with: the chosen one's training takes so many
            times as long.
        clock: Returns the time in seconds.
    """

    def __init__(self, seconds: float, growth: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = clock
        self._end = clock() + seconds
        self._growth = growth
        self._longest = 0.0

    @property
    def left(self) -> float:
        """Seconds that are left for comparisons, after the longest training that may follow."""
        return self._end - self.now() - self._growth * self._longest

    def fits(self, to_come: float, whole: float) -> bool:
        """Return whether a run can end, and the method that is chosen then be trained on all rows.

        Args:
            to_come: Seconds until the run ends.
            whole: Seconds of the whole run.
        """
        return to_come + self._growth * max(self._longest, whole) <= self._end - self.now()

    def reserve(self, seconds: float) -> None:
        """Reserve the time for training a method again that took so many seconds."""
        self._longest = max(self._longest, seconds)
