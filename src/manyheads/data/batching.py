"""Plan batches without padding waste: rows sorted by length, cut where a token budget is full or where padding begins.

Integers only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

# Tokens per batch, padding included. On two cores, budgets of one to two thousand were the fastest.
TOKEN_BUDGET = 2048
# What a forward costs beside its tokens, as a share of the budget: small matrix products are slower per token.
_FORWARD_SHARE = 1 / 16
# The budgets to choose from, and the work by which each is measured.
_BUDGETS = (512, 1024, 2048, 4096, 8192, 16384, 32768)
_JUDGED_TOKENS = 8192
# A pass of fewer tokens is over before measuring pays.
_WORTH_MEASURING = 262_144
# A budget must be this much faster to be preferred to one already known.
_CLEARLY = 1.05


def plan_batches(lengths: np.ndarray, budget: int = TOKEN_BUDGET) -> list[np.ndarray]:
    """Return the rows of each batch; every row is in exactly one.

    Longest rows come first, so that memory runs out in the first batch or never.

    Args:
        lengths: Tokens per row (rows,), integers.
        budget: Largest number of rows times longest row; a longer row is a separate batch.
    """
    return list(Batches(lengths, budget))


class Batches:
    """Batches of a pass; a long one finds the best budget on its own first batches, so that nothing is read twice.

    Args:
        lengths: Tokens per row (rows,), integers.
        budget: Tokens per batch, padding included; ``None`` where it was never measured.

    Attributes:
        measured: The budget found or given, or ``None`` if the pass was too short to measure.
    """

    def __init__(self, lengths: np.ndarray, budget: int | None = None) -> None:
        self.measured = budget
        self._lengths = lengths
        worth = budget is None and int(lengths.sum()) >= _WORTH_MEASURING
        self._search = BudgetSearch() if worth else None
        self._tokens = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        order = np.argsort(-self._lengths, kind="stable")
        start = 0
        while start < len(order):
            rows = order[start : start + self._best_count(self._lengths[order[start : start + self._budget]])]
            self._tokens = max(1, int(self._lengths[rows[0]])) * len(rows)
            yield rows
            start += len(rows)

    def _best_count(self, lengths: np.ndarray) -> int:
        """Return how many of the next rows make the batch with the largest share of real tokens.

        A share counts what a forward costs, so that a batch ends before rows that would need much padding, but not
        after every length.

        Args:
            lengths: Tokens of the next rows, the longest first.
        """
        lengths = np.maximum(lengths, 1)
        fitting = lengths[: max(1, self._budget // int(lengths[0]))]
        cost = lengths[0] * np.arange(1, len(fitting) + 1) + self._budget * _FORWARD_SHARE
        return 1 + int(np.argmax(np.cumsum(fitting) / cost))

    def took(self, seconds: float) -> None:
        """Say how long the batch just yielded took."""
        if self._search is not None:
            self._search.saw(self._tokens, seconds)
            if self._search.best is not None:
                self.measured, self._search = self._search.best, None

    @property
    def _budget(self) -> int:
        if self._search is not None:
            return self._search.budget
        return TOKEN_BUDGET if self.measured is None else self.measured


class BudgetSearch:
    """Climbs from the usual budget to larger ones while they are clearly faster, else to smaller ones.

    Attributes:
        budget: To try next.
        best: The budget found, once it is.
    """

    def __init__(self) -> None:
        self.budget = TOKEN_BUDGET
        self.best: int | None = None
        self._speeds: dict[int, float] = {}
        self._warm = False
        self._tokens, self._seconds = 0, 0.0

    def saw(self, tokens: int, seconds: float) -> None:
        """Take in one batch of the current budget."""
        if not self._warm:  # the first batch pays for memory and kernels that the others find ready
            self._warm = True
            return
        self._tokens, self._seconds = self._tokens + tokens, self._seconds + seconds
        if self._tokens >= _JUDGED_TOKENS:
            self._speeds[self.budget] = self._tokens / max(self._seconds, 1e-9)
            self._tokens, self._seconds = 0, 0.0
            self._go_on()

    def _go_on(self) -> None:
        leader = TOKEN_BUDGET
        for step in (1, -1):
            place = _BUDGETS.index(TOKEN_BUDGET) + step
            while 0 <= place < len(_BUDGETS):
                rival = _BUDGETS[place]
                if rival not in self._speeds:
                    self.budget = rival
                    return
                if self._speeds[rival] <= _CLEARLY * self._speeds[leader]:
                    break
                leader, place = rival, place + step
            if leader != TOKEN_BUDGET:
                break
        self.best = leader
