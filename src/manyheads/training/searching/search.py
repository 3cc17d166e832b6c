"""Search the taps of heads with ``reads="auto"``: layer, pooling, sets of them, and the bag of tokens.

All single taps are screened on a small sample of the training rows, and sets of the best ones on a larger sample (see
``screening.py``). The shortlisted sets are then solved exactly on all training rows and compared on held-out rows (see
``choose.py``), and the simplest set within one standard error of the best is chosen. Evaluation rows are never used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.features import FeatureSource, FeatureTable
from manyheads.taps import BackboneTap, Hidden, Lexical, Tap
from manyheads.taps.lexical import TokenIds, bags, lexicon
from manyheads.training.searching.screening import HeadScreening, Screening, dense_kernel
from manyheads.training.searching.shortlist import PARTNERS, Shortlist, shortlist
from manyheads.types import BackboneFacts

# Rows on which single taps are ranked, and on which sets of the best are compared: the gain of one more tap shows only
# on more rows. One inverse takes 0.02 s for the first, 0.1 s for the second.
_SINGLE_ROWS = 800
_SET_ROWS = 1600
# With fewer labelled rows, differences between taps are noise, and the default tap is used.
_MIN_ROWS = 40
# Bytes up to which every candidate is read on all rows.
_MAX_BYTES = 256_000_000


@dataclass(frozen=True, eq=False)
class SearchRequest:
    """A head whose taps are searched.

    Attributes:
        rows: Labelled training rows, each text once: a duplicate would reveal the label of a row that is left out.
        target_scores: Scores of a perfect prediction there, fp32 (rows, scores), NaN where missing.
    """

    rows: np.ndarray
    target_scores: np.ndarray

    def sampled(self, source: FeatureSource, max_rows: int) -> SearchRequest:
        """Return the request for a sample of its rows.

        The order of the rows depends on their contents alone. Small samples are part of larger ones, and samples for
        other heads, other runs and a longer table mostly contain the same texts, whose features are cached.
        """
        sample = np.sort(source.by_content(self.rows)[:max_rows])
        return SearchRequest(self.rows[sample], self.target_scores[sample])


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
        dense: The single taps to try besides the bag of tokens, see ``candidates``.
        source: Features of all texts.
        requests: The heads to search for.
        other_taps: Taps whose features training needs anyway, read in the same passes.
        rows: All training and evaluation rows. Where they are few, every candidate is read on all of them in one pass,
            so that a later search finds its features in the cache.
    """
    default = Hidden().resolve(facts)
    singles: list[BackboneTap] = [*dense, Lexical()]
    searched = {name: request for name, request in requests.items() if len(request.rows) >= _MIN_ROWS}
    if searched and 4 * len(rows) * sum(tap.width(facts) for tap in dense) <= _MAX_BYTES:
        source.read([*singles, *other_taps], rows)
    small = _screenings(source, searched, singles, other_taps, _SINGLE_ROWS)
    ranked = {name: screening.ranked(singles) for name, screening in small.items()}
    leaders = dict.fromkeys(tap for head in ranked.values() for single in head[:PARTNERS] for tap in single.taps)
    joinable: list[BackboneTap] = [*dict.fromkeys([*leaders, default, Lexical()])]
    large = _screenings(source, searched, joinable, other_taps, _SET_ROWS)
    found = {name: shortlist(screening, ranked[name], default) for name, screening in large.items()}
    return {name: found.get(name, Shortlist.of(default)) for name in requests}


def _screenings(
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
        shared = Screening(_kernels(tables, sample), [request.target_scores for request in group.values()])
        screenings |= {name: shared.of_head(number) for number, name in enumerate(group)}
    return screenings


def _labelled_alike(requests: Mapping[str, SearchRequest]) -> list[dict[str, SearchRequest]]:
    """Return the requests in groups with the same rows."""
    groups: dict[bytes, dict[str, SearchRequest]] = {}
    for name, request in requests.items():
        groups.setdefault(request.rows.tobytes(), {})[name] = request
    return list(groups.values())


def _kernels(tables: Mapping[Tap, FeatureTable], rows: np.ndarray) -> Callable[[Tap], Tensor]:
    """Return a function that computes the kernel of a tap over these rows."""

    def kernel_of(tap: Tap) -> Tensor:
        features = tables[tap].take(rows)
        if not isinstance(tap, Lexical):
            return dense_kernel(features.values)
        texts = TokenIds.of(features)
        bag = bags(texts, *lexicon(texts))
        return torch.from_numpy((bag @ bag.T).toarray())

    return kernel_of
