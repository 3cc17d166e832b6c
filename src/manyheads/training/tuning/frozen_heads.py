"""Heads that answer together with tuned heads: those that ``Frozen`` trains on all training rows.

Symbols, for one item::

    t   logits of the tuned head
    f   logits of the frozen head
    s   share of the frozen head
    z   logits of the answer, (1 - s) t + s f

The two err on different items: they read other features, and the frozen one was trained on the held-out rows too. It is
the ensemble of outputs that Wortsman et al. 2022 ("Robust fine-tuning of zero-shot models") compare with their mean of
weights. Both heads are linear, so their mean is one linear head that reads what both read, see ``Head.averaged``. Each
head has its own share, where the weights of the backbone have one share for all.

Logits of training rows are out of fold: those of ``f`` come from weights that were fitted without the row.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from manyheads.core import HeadedCore
from manyheads.deciding.after_training import Reference, decide
from manyheads.deciding.temperature import TemperatureFit
from manyheads.features.logits import empty_logits
from manyheads.heads import Decision, Head, Logits
from manyheads.runtime.processes import from_first
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import FitResult
from manyheads.training.frozen.method import FrozenBeside
from manyheads.training.method import Outcome
from manyheads.training.tuning.held_out_rows import held_out_losses, held_out_of

Evaluate = Callable[[np.ndarray], dict[str, Logits]]

# The shares that are compared. The middle one came close to the best share of every head that was measured, see
# ``benchmarks/RESULTS.md``: a few hundred rows have to be clear about another one.
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
DEFAULT_SHARE = 0.5
_FROM_THE_MIDDLE = sorted(SHARES, key=lambda share: abs(share - DEFAULT_SHARE))


@dataclass(frozen=True, eq=False)
class FrozenHeads:
    """The frozen heads beside those that are tuned.

    Attributes:
        share: Their share in the answers; ``None`` chooses it for each.
        heads: The heads by name, with their decisions.
        fits: How each was fitted.
        logits: Head name -> logits of ``rows``.
        rows: The training rows and the evaluation rows, ascending.
    """

    share: float | None
    heads: Mapping[str, Head]
    fits: Mapping[str, FitResult]
    logits: Mapping[str, Logits]
    rows: np.ndarray

    @staticmethod
    def trained(method: FrozenBeside, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> FrozenHeads:
        """Train the heads, which changes the model's, and return copies of them.

        Args:
            method: Trains them.
            core: The backbone and all heads.
            heads: Those that are tuned.
            data: All training rows, the held-out ones among them.
        """
        suited = suited_heads(core, heads)
        outcome = method.fit(core, suited, data)
        rows = np.concatenate([data.train, data.evaluate])
        order = np.argsort(rows, kind="stable")
        logits = {name: found.take(order) for name, found in _logits(outcome, suited, data).items()}
        copies = {name: copy.deepcopy(head) for name, head in suited.items()}
        return FrozenHeads(method.share, copies, outcome.fits, logits, rows[order])

    def averaged(self, evaluate: Evaluate, shares: Mapping[str, float] | None = None) -> Evaluate:
        """Return a function that gives the logits of the answers.

        Args:
            evaluate: Gives the logits of the tuned heads.
            shares: The share of each frozen head; as given, or the middle one, by default.
        """
        shares = dict.fromkeys(self.heads, self._default) if shares is None else shares

        def answers(rows: np.ndarray) -> dict[str, Logits]:
            frozen = self.logits_of(rows)
            return {
                name: tuned.averaged(frozen[name], shares[name]) if name in frozen else tuned
                for name, tuned in evaluate(rows).items()
            }

        return answers

    def logits_of(self, rows: np.ndarray) -> dict[str, Logits]:
        """Return the logits of some rows, in the order given; NaN for items without a label of training rows."""
        places = np.searchsorted(self.rows, rows)
        return {name: logits.take(places) for name, logits in self.logits.items()}

    def shares_of(self, evaluate: Evaluate, data: TrainingData) -> dict[str, float]:
        """Return the share of each frozen head: the given one, or the one nearest to the middle whose answers have the
        least loss on the held-out rows, within one standard error.

        Args:
            evaluate: Gives the logits of the tuned heads.
            data: Contains the held-out rows.
        """
        rows = data.held_out
        if self.share is not None or not len(rows):
            return dict.fromkeys(self.heads, self._default)
        frozen, tuned = self.logits_of(rows), evaluate(rows)

        def near_best(name: str) -> float:
            tried = {
                share: held_out_losses(self.heads[name], tuned[name].averaged(frozen[name], share), name, data)
                for share in _FROM_THE_MIDDLE
            }
            items, _ = tried[DEFAULT_SHARE]
            if not len(items):
                return DEFAULT_SHARE
            best = min((losses for _, losses in tried.values()), key=items.mean)
            excess = {share: losses - best for share, (_, losses) in tried.items()}
            return next(share for share, above in excess.items() if items.mean(above) <= items.error(above))

        return from_first({name: near_best(name) for name in self.heads})

    def decide(
        self, shares: Mapping[str, float], answers: Mapping[str, Logits], data: TrainingData
    ) -> dict[str, tuple[Decision, TemperatureFit | None]]:
        """Return the decision of each answer that a tuned head is part of, and how its temperature was found.

        Args:
            shares: The share of each frozen head.
            answers: Logits of the answers on the held-out rows.
            data: Contains these rows, at least one.
        """
        alone, found = self.logits_of(data.held_out), {}
        for name in [name for name, share in shares.items() if share < 1]:
            frozen, items = self.heads[name], held_out_of(data, name, answers[name])
            reference = Reference(held_out_of(data, name, alone[name]), frozen.decision)
            found[name] = decide(frozen.spec, items, frozen.decision, data.seed, reference)
        return found

    def join(self, heads: Mapping[str, Head], shares: Mapping[str, float]) -> None:
        """Let heads answer together with the frozen heads.

        Args:
            heads: The tuned heads, changed in place.
            shares: The share of each frozen head; with 1 it replaces the tuned one.
        """
        for name, share in shares.items():
            head, frozen = heads[name], self.heads[name]
            if share == 1:
                head.take_over(copy.deepcopy(frozen))
                head.decision = frozen.decision
            elif share > 0:
                head.take_over(head.averaged(frozen, share))

    @property
    def _default(self) -> float:
        return DEFAULT_SHARE if self.share is None else self.share


def suited_heads(core: HeadedCore, heads: Mapping[str, Head]) -> dict[str, Head]:
    """Return the heads whose mean with another one is a head: linear ones. One that reads another head was trained on
    that one's own scores, so neither of them is among them.
    """
    read = {other for head in core.heads.values() for other in head.reads_heads}
    return {name: head for name, head in heads.items() if head.linear and not head.reads_heads and name not in read}


def _logits(outcome: Outcome, heads: Mapping[str, Head], data: TrainingData) -> dict[str, Logits]:
    """Return each head's logits of the training rows, out of fold, and of the evaluation rows."""
    found = empty_logits(heads, data.tokenized, data.train)
    for name, logits in found.items():
        logits.fill(math.nan)
        data.targets[name].take(data.train).put_item_logits(logits, outcome.fits[name].out_of_fold)
        found[name] = logits.joined([logits, outcome.logits[name]])
    return found
