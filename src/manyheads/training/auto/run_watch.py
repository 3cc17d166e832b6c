"""Ends the run of a candidate that does not fit into the time left, or that falls clearly behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from manyheads.heads import Logits
from manyheads.training.auto.budget import Budget
from manyheads.training.auto.choice import is_clearly_behind
from manyheads.training.tuning.watch import StoppedRunError, Watch

# Steps after which the time of a run is estimated.
_STEPS = 5
# Time of a run over that of its steps: evaluations after epochs, and of mixed weights.
_BESIDE_STEPS = 1.25
# Share of a run's steps after which its weights are compared.
_COMPARED_FROM = 0.5
# Shares of the tuned weights that are compared after an epoch: where tuning is of use, one of them helps.
_SHARES = (0.5, 1.0)


class RunWatch(Watch):
    """Watches one run.

    Args:
        budget: The time left.
        losses_of: Returns the losses of logits of the comparison rows, see
            ``RowLosses.least_shares``.
        first: Those of the first method, behind which no run may fall; ``None`` if there is none yet.

    Attributes:
        expected: Seconds of the whole run, as estimated; 0 before an estimate.
    """

    def __init__(
        self, budget: Budget, losses_of: Callable[[Mapping[str, Logits]], np.ndarray], first: np.ndarray | None
    ) -> None:
        self._budget, self._losses_of, self._first = budget, losses_of, first
        self._started = budget.now()
        self._first_step, self._first_share = self._started, 0.0
        self.expected = 0.0

    def after_step(self, steps: int, share: float) -> None:
        """Estimate the time of the run from the steps after the first, which is slower.

        Raises:
            StoppedRunError: it does not fit into the time left.
        """
        now = self._budget.now()
        if steps == 1:
            self._first_step, self._first_share = now, share
        if steps <= _STEPS:
            return
        to_come = _BESIDE_STEPS * (now - self._first_step) / (share - self._first_share) * (1 - share)
        self.expected = now - self._started + to_come
        if not self._budget.fits(to_come, self.expected):
            raise StoppedRunError(
                f"stopped: would take about {self.expected:.0f} s, and as long again on all training rows"
            )

    def after_epoch(self, done: float, logits_of: Callable[[float], Mapping[str, Logits]]) -> None:
        """Compare the weights so far, whole and mixed with those before tuning, from the middle of the run on: weights
        that are worse at first, at a high learning rate, may be the best in the end.

        Raises:
            StoppedRunError: both are clearly behind the first method, and no better than the weights before tuning.
        """
        if self._first is None or done < _COMPARED_FROM:
            return
        tuned = [self._losses_of(logits_of(share)) for share in _SHARES]
        if not all(is_clearly_behind(losses, self._first) for losses in tuned):
            return
        before = self._losses_of(logits_of(0.0))
        if all(losses.mean() >= before.mean() for losses in tuned):
            raise StoppedRunError(
                f"stopped after {done:.0%} of its steps: clearly behind, and no better than before tuning"
            )
