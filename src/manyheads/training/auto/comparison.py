"""Try one method after the other on the same rows, and choose one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from manyheads.core import HeadedCore
from manyheads.errors import ManyheadsError, listed, one_line
from manyheads.heads import Head
from manyheads.runtime.progress import log_step, progress_bar, spinner
from manyheads.training.auto.budget import Budget
from manyheads.training.auto.candidate import Candidate
from manyheads.training.auto.candidates import name_of
from manyheads.training.auto.choice import choose, harmed
from manyheads.training.auto.row_losses import RowLosses
from manyheads.training.auto.run_watch import RunWatch
from manyheads.training.auto.trial import logits_after
from manyheads.training.dataset import TrainingData
from manyheads.training.method import Method
from manyheads.training.searching.comparison import margin
from manyheads.training.tuning.watch import StoppedRunError


@dataclass(frozen=True, eq=False)
class Trial:
    """One method and what came of it.

    Attributes:
        method: The method.
        losses: ``RowLosses.shares`` (heads, rows); ``None`` if it was not measured.
        means: Head name -> its mean loss.
        seconds: Wall time spent on it.
        expected: Seconds that it takes, as measured or estimated; 0 if unknown.
        reason: Why it was not measured.
    """

    method: Method
    losses: np.ndarray | None = None
    means: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    expected: float = 0.0
    reason: str = ""


class Comparison:
    """Tries methods until the time is up.

    Args:
        core: The backbone and all heads; unchanged afterwards.
        heads: The heads to train.
        data: Training rows, and comparison rows as its evaluation rows.
        budget: The time.

    Attributes:
        trials: One per method so far. The first is of the method that no other may be worse than.
    """

    def __init__(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData, budget: Budget) -> None:
        self.trials: list[Trial] = []
        self._core, self._heads, self._data, self._budget = core, heads, data, budget
        self._row_losses = RowLosses(heads, data)

    @property
    def heads(self) -> list[str]:
        """The heads that methods are compared by: those with a label on the comparison rows."""
        return self._row_losses.heads

    def run(self, methods: Sequence[Method]) -> None:
        """Try every method that the backbone supports and the time allows."""
        with progress_bar("Comparing methods", len(methods), "methods") as advance:
            for method in methods:
                with spinner(f"Trying {name_of(method)}"):
                    self.trials.append(self._tried(method))
                log_step(f"Auto: {_candidate(self.trials[-1])}")
                advance(1)

    def choose(self) -> tuple[Method, list[Candidate]]:
        """Return the chosen method and a record of every method, in their order."""
        measured = [trial.losses for trial in self.trials if trial.losses is not None]
        chosen = measured[choose(measured)]
        best = min(measured, key=lambda losses: float(losses.mean()))
        method = next(trial.method for trial in self.trials if trial.losses is chosen)
        return method, [self._compared(trial, best, trial.losses is chosen) for trial in self.trials]

    def _tried(self, method: Method) -> Trial:
        expected = max((trial.expected for trial in self.trials if type(trial.method) is type(method)), default=0.0)
        # The others start from heads like those of the first method, or read every text several times.
        least = self.trials[0].seconds if self.trials else 0.0
        shortest = max(expected, least)
        if self.trials and not self._budget.fits(shortest, shortest):
            takes = f"about {expected:.0f} s" if expected > least else f"at least {least:.0f} s"
            return Trial(method, expected=expected, reason=_no_time(self._budget.left, takes))
        first = self.trials[0].losses if self.trials else None
        started, watch = self._budget.now(), RunWatch(self._budget, self._row_losses.least_shares, first)
        try:
            logits = logits_after(method, self._core, self._heads, self._data, watch)
        except StoppedRunError as ended:
            return Trial(method, seconds=self._since(started), expected=watch.expected, reason=str(ended))
        except (ManyheadsError, torch.OutOfMemoryError) as error:
            if not self.trials:
                raise
            return Trial(method, seconds=self._since(started), reason=f"not possible: {one_line(error)}")
        seconds, losses = self._since(started), self._row_losses.shares(logits)
        # Only a method with less loss than all simpler ones may be chosen, and then be trained again.
        if all(losses.mean() < trial.losses.mean() for trial in self.trials if trial.losses is not None):
            self._budget.reserve(seconds)
        return Trial(method, losses, self._row_losses.mean(logits), seconds, seconds)

    def _since(self, started: float) -> float:
        return self._budget.now() - started

    def _compared(self, trial: Trial, best: np.ndarray, chosen: bool) -> Candidate:
        """Return the record of a method, compared with the best one."""
        first = self.trials[0].losses
        if trial.losses is None or first is None:
            return _candidate(trial)
        excess, excess_error = margin(trial.losses.mean(axis=0), best.mean(axis=0))
        worse = [self.heads[head] for head in harmed(trial.losses, first)]
        reason = f"clearly worse than {name_of(self.trials[0].method)} for {listed(worse)}" if worse else ""
        found = _candidate(trial)
        return replace(found, chosen=chosen, reason=reason, excess=excess, excess_error=excess_error)


def _candidate(trial: Trial) -> Candidate:
    """Return the record of a method without a comparison."""
    found = Candidate(name_of(trial.method), trial.method.describe(), reason=trial.reason, seconds=trial.seconds)
    if trial.losses is None:
        return found
    rows = trial.losses.mean(axis=0)
    error = float(rows.std() / np.sqrt(len(rows)))
    return replace(found, loss=float(rows.mean()), error=error, losses=dict(trial.means))


def _no_time(left: float, takes: str) -> str:
    return f"not tried: {max(left, 0.0):.0f} s were left beside the last training, and it takes {takes}"
