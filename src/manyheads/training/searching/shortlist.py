"""Choose the sets of taps that are worth solving exactly, from one head's screening."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.taps import BackboneTap, Lexical, Tap, Words
from manyheads.training.fit import LEAVE_ONE_OUT, Alternative
from manyheads.training.searching.comparison import margin, negligible, simplest_near_best
from manyheads.training.searching.screening import PENALTY, HeadScreening, ScreenedTaps
from manyheads.training.solving.head_rows import MANY_ROWS

# The best single taps that may be joined to others, and the most taps of a set; a bag of first words does not count.
PARTNERS = 3
_MAX_TAPS = 3
# Standard errors above the best at which a set is not worth solving exactly, with many rows. With few, an exact
# solution is cheap, and a screening that regularizes all sets alike prefers large sets.
_CLEARLY_WORSE = 3.0


Others = Callable[[BackboneTap], Sequence[BackboneTap]]


@dataclass(frozen=True)
class Shortlist:
    """The sets of taps that are worth solving exactly.

    Attributes:
        sets: The simplest first.
        preferred: The set that screening alone would choose.
        alternatives: One record per set that was screened.
    """

    sets: list[tuple[Tap, ...]]
    preferred: tuple[Tap, ...]
    alternatives: list[Alternative]

    @staticmethod
    def of(tap: Tap) -> Shortlist:
        """Return the shortlist of a single tap."""
        return Shortlist([(tap,)], (tap,), [])

    def with_hidden_states(self, default: BackboneTap) -> Shortlist:
        """Return the shortlist with the default tap added to the sets that read token ids alone."""

        def completed(taps: tuple[Tap, ...]) -> tuple[Tap, ...]:
            return (default, *taps) if all(isinstance(tap, Lexical) for tap in taps) else taps

        sets = list(dict.fromkeys(completed(taps) for taps in self.sets))
        return Shortlist(sets, completed(self.preferred), self.alternatives)

    def with_bag(self, bag: BackboneTap) -> Shortlist:
        """Return the shortlist with one more set, the last one with a bag of tokens. On many more rows than the sample
        has, a bag gains more than there, and it takes no part of the pass.
        """
        largest = self.sets[-1]
        if bag in largest:
            return self
        return Shortlist([*self.sets, (*largest, bag)], self.preferred, self.alternatives)

    def with_last_layer(self, last: Words) -> Shortlist:
        """Return the shortlist with the words' vectors of the last layer added to the sets that do not read it.

        Args:
            last: Reads the last layer, as the head does without a search.
        """

        def completed(taps: tuple[Tap, ...]) -> tuple[Tap, ...]:
            reads_last = any(isinstance(tap, Words) and tap.layer == last.layer for tap in taps)
            return taps if reads_last else (*taps, last)

        sets = list(dict.fromkeys(completed(taps) for taps in self.sets))
        return Shortlist(sets, completed(self.preferred), self.alternatives)

    def with_wider(self, screening: HeadScreening, wider: Sequence[BackboneTap], others: Others) -> Shortlist:
        """Return the shortlist of the preferred set, of the best of some single taps that are wider, and of this one
        with others. All are worth an exact solution: ridge regression, which regularizes all features alike, gains
        little from neighbors.

        Args:
            screening: Of the head.
            wider: The wider taps.
            others: Returns the taps to read beside one of them.
        """
        if not wider:
            return Shortlist([self.preferred], self.preferred, self.alternatives)
        screened = [screening.screen([tap]) for tap in wider]
        best = min(screened, key=_loss)
        alternatives = [*self.alternatives, *(_alternative(taps, best.errors) for taps in screened)]
        sets = dict.fromkeys([self.preferred, best.taps, (*best.taps, *others(best.taps[0]))])
        return Shortlist(list(sets), self.preferred, alternatives)


def shortlist(
    screening: HeadScreening, ranked: Sequence[ScreenedTaps], default: BackboneTap, always: Sequence[BackboneTap] = ()
) -> Shortlist:
    """Join to the best single tap the one that improves it most, as long as it does, and keep the sets that are not
    clearly worse than the last one; with few rows, all of them.

    Args:
        screening: Of the head, on the larger sample.
        ranked: Its single taps, ranked on the smaller sample.
        default: The tap that a head reads without a search.
        always: Taps that may be joined to others, however they rank.
    """
    partners = list(dict.fromkeys([*(tap for single in ranked[:PARTNERS] for tap in single.taps), *always]))
    singles = [screening.screen([tap]) for tap in dict.fromkeys([default, *partners])]
    screened, path = list(singles), [min(singles, key=_loss)]
    while joined := [screening.screen(taps) for taps in _joined(path[-1].taps, partners)]:
        screened += joined
        better = min(joined, key=_loss)
        gain, error = margin(path[-1].errors, better.errors)
        if gain <= max(error, negligible(better.errors)):
            break
        path.append(better)
    path = [singles[0], *path]
    alternatives = [
        *(_alternative(single, ranked[0].errors) for single in ranked),
        *(_alternative(taps, path[-1].errors) for taps in screened),
    ]
    preferred = path[simplest_near_best([taps.errors for taps in path])].taps
    return Shortlist(_promising(path), preferred, alternatives)


def _joined(taps: tuple[BackboneTap, ...], partners: Sequence[BackboneTap]) -> list[tuple[BackboneTap, ...]]:
    """Return a set with each partner that may join it."""
    joined = [(*taps, tap) for tap in partners if tap not in taps]
    return [one for one in joined if len([tap for tap in one if not _reads_first_words(tap)]) <= _MAX_TAPS]


def _reads_first_words(tap: BackboneTap) -> bool:
    return isinstance(tap, Lexical) and tap.first is not None


def _loss(screened: ScreenedTaps) -> float:
    return screened.loss


def _alternative(screened: ScreenedTaps, best: np.ndarray) -> Alternative:
    settings = {"l2": PENALTY, "rows": float(len(screened.errors))}
    return Alternative(screened.taps, settings, screened.loss, LEAVE_ONE_OUT, margin(screened.errors, best)[1])


def _promising(path: Sequence[ScreenedTaps]) -> list[tuple[Tap, ...]]:
    """Return the sets that are worth solving exactly, in their order, each once."""
    if len(path[-1].errors) < MANY_ROWS:
        return list(dict.fromkeys(taps.taps for taps in path))
    margins = [margin(taps.errors, path[-1].errors) for taps in path]
    kept = [
        taps.taps
        for taps, (excess, error) in zip(path, margins, strict=True)
        if excess <= max(_CLEARLY_WORSE * error, negligible(path[-1].errors))
    ]
    return list(dict.fromkeys(kept))
