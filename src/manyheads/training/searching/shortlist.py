"""Find what each head should read: layer, pooling, pairs of them, and the bag of tokens, for the price of one pass.

Many taps are screened on a sample of the training rows (see ``screening.py``); the best few are then solved exactly on
all of them and compared on held-out rows. The simplest set within one standard error of the best
is taken. Evaluation rows are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.features import FeatureSource, FeatureTable
from manyheads.heads import HeadSpec
from manyheads.taps import Hidden, Lexical, Tap
from manyheads.taps.lexical import bags, lexicon
from manyheads.training.fit import LEAVE_ONE_OUT, Alternative
from manyheads.training.searching.screening import (
    NEGLIGIBLE,
    PENALTY,
    Screened,
    Screening,
    dense_kernel,
    margin,
    simplest_near_best,
)
from manyheads.training.solving.design_of_head import token_ids
from manyheads.types import BackboneFacts

# Rows on which single taps are ranked, and on which sets of the best are compared: what a tap adds to others shows only
# on more rows. An inverse takes two hundredths of a second for the first, a tenth for the second.
_SINGLE_ROWS = 800
_JOINED_ROWS = 1600
# With fewer labelled rows nothing can be told apart.
_LEAST_ROWS = 40
# Layers that are screened, evenly spaced, the first and the last among them.
_MOST_LAYERS = 9
# Single taps that may be joined to the best one, besides the bag of tokens, and the most taps of a set.
_PARTNERS = 3
_MOST_TAPS = 3
# Bytes of features that are read of all rows at once, whether or not they will be chosen.
_READ_AT_ONCE = 256_000_000
# Standard errors above the best at which a set is not worth solving exactly.
_CLEARLY = 3.0


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """A head that wants to be told what to read.

    Attributes:
        spec: The head's.
        places: Labelled training rows, no text twice: the second would give the first away.
        numbers: What its scores should be there, fp32 (rows, scores), NaN where missing.
    """

    spec: HeadSpec
    places: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Shortlist:
    """The sets of taps worth solving exactly.

    Attributes:
        sets: The simplest first.
        preferred: The one that screening alone would take.
        trials: Everything that was screened.
    """

    sets: list[tuple[Tap, ...]]
    preferred: tuple[Tap, ...]
    alternatives: list[Alternative]


def candidates(facts: BackboneFacts) -> list[Tap]:
    """Return the single dense taps worth screening, the default one first."""
    count = len(facts.widths)
    layers = sorted({round(place) - count for place in np.linspace(0, count - 1, min(count, _MOST_LAYERS))})
    pools = ("mean", "last", "max") if facts.causal else ("mean", "cls", "max")
    default = Hidden().resolve(facts)
    return list(dict.fromkeys([default, *(Hidden(layer, pool) for layer in reversed(layers) for pool in pools)]))


def screen(
    facts: BackboneFacts,
    source: FeatureSource,
    heads: Mapping[str, SearchRequest],
    also: Sequence[Tap],
    rows: np.ndarray,
) -> dict[str, Shortlist]:
    """Screen taps for all heads; every row is read once, for all that may be wanted of it.

    Args:
        facts: Of the backbone.
        source: Where features come from; every candidate is read on a sample, few of them on a larger one.
        heads: The heads to choose for.
        also: Taps that will be read of all rows in any case.
        rows: All rows that will be read of; where they are few, every candidate is read of them at once, so that heads
            that are added later find what they choose.
    """
    default = Hidden().resolve(facts)
    groups = _alike({name: head for name, head in heads.items() if len(head.places) >= _LEAST_ROWS})
    singles: list[Tap] = [*candidates(facts), Lexical()]
    if groups and 4 * len(rows) * sum(tap.width(facts) for tap in singles[:-1]) <= _READ_AT_ONCE:
        source.read([*singles, *also], rows)
    few = _screenings(source, groups, heads, singles, also, _SINGLE_ROWS)
    ranked = {name: few[place].ranked(row) for place, names in enumerate(groups) for row, name in enumerate(names)}
    leaders = dict.fromkeys(tap for one in ranked.values() for best in one[:_PARTNERS] for tap in best.taps)
    many = _screenings(source, groups, heads, list(leaders | {default: None, Lexical(): None}), also, _JOINED_ROWS)
    found = {name: Shortlist([(default,)], (default,), []) for name in heads}
    for place, names in enumerate(groups):
        for row, name in enumerate(names):
            found[name] = _shortlist(many[place], row, ranked[name], default)
    return found


def _alike(heads: Mapping[str, SearchRequest]) -> list[list[str]]:
    """Group heads that are labelled on the same rows: what is screened for one serves them all."""
    groups: dict[bytes, list[str]] = {}
    for name, head in heads.items():
        groups.setdefault(head.places.tobytes(), []).append(name)
    return list(groups.values())


def _screenings(
    source: FeatureSource,
    groups: Sequence[Sequence[str]],
    heads: Mapping[str, SearchRequest],
    taps: Sequence[Tap],
    also: Sequence[Tap],
    most: int,
) -> list[Screening]:
    """Return one screening per group, on a sample of its rows.

    Samples are the first in an order of contents: small ones lie in larger ones, and those of other heads, other runs
    and a grown table mostly meet the same texts, whose features are known.
    """
    members = [[heads[name] for name in names] for names in groups]
    chosen = [np.sort(source.by_content(group[0].places)[:most]) for group in members]
    places = [group[0].places[rows] for group, rows in zip(members, chosen, strict=True)]
    if not places:
        return []
    tables = source.read([*taps, *also], np.concatenate(places))
    return [
        Screening(taps, _kernels(tables, place), [head.numbers[rows] for head in group])
        for group, rows, place in zip(members, chosen, places, strict=True)
    ]


def _kernels(tables: Mapping[Tap, FeatureTable], places: np.ndarray) -> Callable[[Tap], Tensor]:
    """Return what makes a tap's kernel over these rows."""

    def kernel_of(tap: Tap) -> Tensor:
        features = tables[tap].take(places)
        if not isinstance(tap, Lexical):
            return dense_kernel(features.values)
        texts = token_ids(features)
        bag = bags(texts, *lexicon(texts))
        return torch.from_numpy((bag @ bag.T).toarray())

    return kernel_of


def _shortlist(screening: Screening, head: int, ranked: Sequence[Screened], default: Tap) -> Shortlist:
    """Join to the best single tap what helps it most, and keep what is not clearly beaten."""
    partners = list(dict.fromkeys([*(tap for one in ranked[:_PARTNERS] for tap in one.taps), Lexical()]))
    singles = [screening.judge([tap]) for tap in dict.fromkeys([default, *partners])]
    screened, path = list(singles), [min(singles, key=lambda one: one.loss(head))]
    while len(path[-1].taps) < _MOST_TAPS:
        joined = _joined(screening, path[-1], partners)
        screened += joined
        better = min(joined, key=lambda one: one.loss(head))
        apart, error = margin(path[-1].errors[head], better.errors[head])
        if apart <= max(error, NEGLIGIBLE):
            break
        path.append(better)
    path = [singles[0], *path]
    best = path[-1].errors[head]
    alternatives = [_alternative(one, head, best) for one in screened]
    fewer = [_alternative(one, head, ranked[0].errors[head]) for one in ranked]
    preferred = path[simplest_near_best([one.errors[head] for one in path])].taps
    return Shortlist(_promising(path, head), preferred, [*fewer, *alternatives])


def _alternative(one: Screened, head: int, best: np.ndarray) -> Alternative:
    errors = one.errors[head]
    settings = {"l2": PENALTY, "rows": float(len(errors))}
    return Alternative(one.taps, settings, one.loss(head), LEAVE_ONE_OUT, margin(errors, best)[1])


def _joined(screening: Screening, leader: Screened, partners: Sequence[Tap]) -> list[Screened]:
    """Return what comes of joining each partner to the leading set."""
    others = [tap for tap in partners if tap not in leader.taps]
    return [screening.judge([*leader.taps, tap]) for tap in others]


def _promising(path: Sequence[Screened], head: int) -> list[tuple[Tap, ...]]:
    """Return the sets that are not clearly beaten by the last one, in their order, each once."""
    best = path[-1].errors[head]
    apart = [margin(one.errors[head], best) for one in path]
    kept = [
        one.taps for one, (above, error) in zip(path, apart, strict=True) if above <= max(_CLEARLY * error, NEGLIGIBLE)
    ]
    return list(dict.fromkeys(kept))
