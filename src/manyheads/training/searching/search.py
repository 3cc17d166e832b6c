"""Search the taps of heads with ``reads="auto"``: layer, pooling, sets of them, and bags of tokens and words.

All single taps are screened on a small sample of the training rows, and sets of the best ones on a larger sample (see
``screening.py``). The shortlisted sets are then solved exactly on all training rows and compared on held-out rows (see
``choose.py``), and the simplest set within one standard error of the best is chosen; with many rows, the largest one on
a quarter of them. From 6,400 rows on, a set with the bag of tokens is always solved, since the sample is too small to
tell what it is worth there. Evaluation rows are never used.

A token head searches layers only, on one sample of its words. The set that the screening prefers, the best layer with
the neighbors of each word, and this layer with a lower and a higher one, are solved exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from torch import Tensor

from manyheads.features import FeatureSource, FeatureTable
from manyheads.heads import HeadSpec, Targets
from manyheads.taps import BackboneTap, Lexical, Tap
from manyheads.training.searching.candidates import lexical_candidates
from manyheads.training.searching.comparison import margin, negligible
from manyheads.training.searching.screening import FoldScreening, HeadScreening, LeaveOneOutScreening, ScreenedTaps
from manyheads.training.searching.shortlist import PARTNERS, Shortlist, shortlist
from manyheads.training.solving.design_of_head import MAX_DENSE_VALUES
from manyheads.training.solving.scaling import Scaling
from manyheads.types import BackboneFacts

# Rows on which single taps are ranked, and on which sets of the best are compared: the gain of one more tap shows only
# on more rows. One inverse takes 0.02 s for the first, 0.1 s for the second.
_SINGLE_ROWS = 800
_SET_ROWS = 1600
# Rows from which on a bag of tokens is always tried, and its most weights.
_BAG_ROWS, _MAX_BAG_WEIGHTS = 4 * _SET_ROWS, 2_000_000
# Words of the sample for token heads.
_WORDS = 8000
# With fewer labelled rows, differences between taps are noise, and the default tap is used.
_MIN_ROWS = 40
# Most features of all words of a set around the best layer: tuned heads, which read the last layer too, still fit into
# memory.
_MAX_WORD_VALUES = 0.8 * MAX_DENSE_VALUES
# Bytes up to which every candidate is read on all rows.
_MAX_BYTES = 256_000_000


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """A head whose taps are searched.

    Attributes:
        spec: The head's spec.
        rows: Labelled training rows, each text once: a duplicate would reveal the label of a row that is left out.
        targets: Their targets.
    """

    spec: HeadSpec
    rows: np.ndarray
    targets: Targets

    @property
    def target_scores(self) -> np.ndarray:
        """Scores of a perfect prediction of its items, fp32 (items, scores), NaN where missing."""
        return self.spec.target_scores(self.targets.items().targets)

    def sampled(self, source: FeatureSource, max_items: int) -> SearchRequest:
        """Return the request for a sample of its rows with at most so many items.

        The order of the rows depends on their contents alone. Small samples are part of larger ones, and samples for
        other heads, other runs and a longer table mostly contain the same texts, whose features are cached.
        """
        items = np.bincount(self.targets.items().rows, minlength=len(self.rows))
        order = source.by_content(self.rows)
        sample = np.sort(order[np.cumsum(items[order]) <= max_items])
        return SearchRequest(self.spec, self.rows[sample], self.targets.take(sample))


def search(
    facts: BackboneFacts,
    dense: Sequence[BackboneTap],
    source: FeatureSource,
    requests: Mapping[str, SearchRequest],
    other_taps: Sequence[BackboneTap],
    rows: np.ndarray,
) -> dict[str, Shortlist]:
    """Return the shortlist of each head.

    Args:
        facts: Facts about the backbone.
        dense: The single taps to try besides bags of tokens and words, see ``candidates``.
        source: Features of all texts.
        requests: The heads to search for.
        other_taps: Taps whose features training needs anyway, read in the same passes.
        rows: All training and evaluation rows. Where they are few, every candidate is read on all of them in one pass,
            so that a later search finds its features in the cache.
    """
    searched = {name: request for name, request in requests.items() if len(request.rows) >= _MIN_ROWS}
    words = {name: request for name, request in searched.items() if request.spec.by_word}
    texts = {name: request for name, request in searched.items() if name not in words}
    found = _search_texts(facts, dense, source, texts, other_taps, rows) if texts else {}
    found |= {name: _search_words(facts, dense, source, request) for name, request in words.items()}
    return {name: found.get(name, Shortlist.of(_default(request, dense))) for name, request in requests.items()}


def _default(request: SearchRequest, dense: Sequence[BackboneTap]) -> Tap:
    """Return the tap that a head reads without a search."""
    return request.spec.as_read(dense)[0]


def _search_texts(
    facts: BackboneFacts,
    dense: Sequence[BackboneTap],
    source: FeatureSource,
    requests: Mapping[str, SearchRequest],
    other_taps: Sequence[BackboneTap],
    rows: np.ndarray,
) -> dict[str, Shortlist]:
    """Return the shortlist of each head that labels texts."""
    default, bags = dense[0], lexical_candidates(facts)
    singles = [*dense, *bags]
    if 4 * len(rows) * sum(tap.width(facts) for tap in dense) <= _MAX_BYTES:
        source.read([*singles, *other_taps], rows)
    small = _screenings(facts, source, requests, singles, other_taps, _SINGLE_ROWS)
    ranked = {name: screening.ranked(singles) for name, screening in small.items()}
    leaders = [tap for head in ranked.values() for single in head[:PARTNERS] for tap in single.taps]
    helpful = {name: _helpful(small[name], head[0], bags) for name, head in ranked.items()}
    joinable = [*dict.fromkeys([*leaders, default, *(bag for head in helpful.values() for bag in head)])]
    large = _screenings(facts, source, requests, joinable, other_taps, _SET_ROWS)
    found = {name: shortlist(screening, ranked[name], default, helpful[name]) for name, screening in large.items()}
    trying = [name for name in found if _tries_bag(requests[name], bags[0], source, facts)]
    return found | {name: found[name].with_bag(bags[0]) for name in trying}


def _tries_bag(request: SearchRequest, bag: BackboneTap, source: FeatureSource, facts: BackboneFacts) -> bool:
    """Return whether a head has so many rows that a bag is solved anyway, and not too many weights for it: L-BFGS keeps
    about twenty copies of them per fold.
    """
    if len(request.rows) < _BAG_ROWS:
        return False
    tokens = source.read([bag], request.rows)[bag].take(request.rows)
    return request.spec.outputs * bag.sized(tokens, facts).width(facts) <= _MAX_BAG_WEIGHTS


def _helpful(screening: HeadScreening, best: ScreenedTaps, bags: Sequence[BackboneTap]) -> list[BackboneTap]:
    """Return the first bag, and those of the others that improve the best single tap on the smaller sample: sets with
    them are screened on the larger one, which costs more than all single taps."""
    found = [bags[0]]
    for bag in bags[1:]:
        joined = screening.screen([*best.taps, bag]).errors
        gain, error = margin(best.errors, joined)
        if gain > max(error, negligible(joined)):
            found.append(bag)
    return found


def _search_words(
    facts: BackboneFacts, dense: Sequence[BackboneTap], source: FeatureSource, request: SearchRequest
) -> Shortlist:
    """Return the layers of a head that labels words."""
    taps = [tap for tap in request.spec.as_read(dense) if isinstance(tap, BackboneTap)]
    sample = request.sampled(source, _WORDS)
    tables = source.read([*taps, *request.spec.wider(taps)], sample.rows)

    def features_of(tap: BackboneTap) -> Tensor:
        table = sample.targets.select(tables[tap], sample.rows)
        features = table.take(np.arange(len(sample.targets.items()))).values
        return Scaling.of(features).apply(features)

    text_of = sample.targets.items().rows
    screening = FoldScreening(features_of, [sample.target_scores], text_of, [request.spec.has_classes]).of_head(0)
    ranked = screening.ranked(taps)
    found = shortlist(screening, ranked, taps[0])
    singles = [tap for single in ranked[:PARTNERS] for tap in single.taps]
    items, all_wider = len(request.targets.items()), request.spec.wider(taps)

    def others(best: BackboneTap) -> list[BackboneTap]:
        around = _around(best, all_wider)
        while around and items * sum(tap.width(facts) for tap in (best, *around)) > _MAX_WORD_VALUES:
            around.pop()
        return around

    return found.with_wider(screening, request.spec.wider(singles), others)


def _around(best: BackboneTap, taps: Sequence[BackboneTap]) -> list[BackboneTap]:
    """Return the lowest layer, which says which words these are where higher ones say what they mean, and the layer
    halfway between the best and the last.

    Args:
        best: One of the taps.
        taps: All that a search tries, the last layer first.
    """
    place = taps.index(best)
    return [tap for tap in dict.fromkeys([taps[-1], taps[place // 2]]) if tap != best]


def _screenings(
    facts: BackboneFacts,
    source: FeatureSource,
    requests: Mapping[str, SearchRequest],
    taps: Sequence[BackboneTap],
    other_taps: Sequence[BackboneTap],
    max_rows: int,
) -> dict[str, HeadScreening]:
    """Return the screening of each head on a sample of its rows; heads that are labelled on the same rows share one."""
    groups = [
        {name: request.sampled(source, max_rows) for name, request in group.items()}
        for group in _labelled_alike(requests)
    ]
    if not groups:
        return {}
    samples = [next(iter(group.values())).rows for group in groups]
    tables = source.read([*taps, *other_taps], np.concatenate(samples))
    screenings: dict[str, HeadScreening] = {}
    for group, sample in zip(groups, samples, strict=True):
        scores = [request.target_scores for request in group.values()]
        as_classes = [request.spec.has_classes for request in group.values()]
        shared = LeaveOneOutScreening(_features(tables, sample, facts), scores, as_classes)
        screenings |= {name: shared.of_head(number) for number, name in enumerate(group)}
    return screenings


def _labelled_alike(requests: Mapping[str, SearchRequest]) -> list[dict[str, SearchRequest]]:
    """Return the requests in groups with the same rows."""
    groups: dict[bytes, dict[str, SearchRequest]] = {}
    for name, request in requests.items():
        groups.setdefault(request.rows.tobytes(), {})[name] = request
    return list(groups.values())


def _features(
    tables: Mapping[Tap, FeatureTable], rows: np.ndarray, facts: BackboneFacts
) -> Callable[[BackboneTap], Tensor | csr_array]:
    """Return a function that computes the features of a tap for these rows, standardized if they are dense."""

    def features_of(tap: BackboneTap) -> Tensor | csr_array:
        features = tables[tap].take(rows)
        if not isinstance(tap, Lexical):
            return Scaling.of(features.values).apply(features.values)
        reader = tap.sized(features, facts).reader(facts)
        reader.set_lexicon(reader.lexicon_of(features))
        return reader.matrix(features)

    return features_of
