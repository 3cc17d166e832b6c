"""How many taps a set may have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np

import manyheads as mh
from manyheads.taps import BackboneTap
from manyheads.training.searching.screening import HeadScreening, ScreenedTaps
from manyheads.training.searching.shortlist import shortlist

LAYERS = [mh.Hidden(-layer, "mean") for layer in range(1, 5)]
BAG, FIRST = mh.Lexical(), mh.Lexical(unit="word", first=1)


class EveryTapHelps:
    """A screening in which each tap of a set takes a tenth of the error away."""

    def screen(self, taps: Iterable[BackboneTap]) -> ScreenedTaps:
        taps = tuple(taps)
        return ScreenedTaps(taps, np.full(50, 1 - 0.1 * len(taps)))


def test_a_set_has_three_taps_and_a_bag_of_first_words_besides() -> None:
    screening = EveryTapHelps()
    ranked = [screening.screen([tap]) for tap in [*LAYERS, BAG, FIRST]]
    for always, most in (([BAG], 3), ([BAG, FIRST], 4), ([FIRST], 4)):
        found = shortlist(cast(HeadScreening, screening), ranked, LAYERS[0], always)
        assert len(found.preferred) == most
        assert (FIRST in found.preferred) == (FIRST in always)
        assert max(len(alternative.reads) for alternative in found.alternatives) == most


def test_a_bag_joins_the_last_set_as_one_more_set() -> None:
    screening = EveryTapHelps()
    ranked = [screening.screen([tap]) for tap in LAYERS]
    found = shortlist(cast(HeadScreening, screening), ranked, LAYERS[0])
    with_bag = found.with_bag(BAG)
    assert with_bag.sets == [*found.sets, (*found.sets[-1], BAG)]
    assert with_bag.preferred == found.preferred
    assert with_bag.with_bag(BAG) == with_bag
