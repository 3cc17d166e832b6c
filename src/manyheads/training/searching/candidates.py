"""The single taps that a search tries."""

from __future__ import annotations

import numpy as np

from manyheads.taps import BackboneTap, Hidden, Lexical
from manyheads.types import BackboneFacts

# The bags to try. The first word was worth four points where texts are instructions; words and pairs of them instead of
# tokens were worth nothing anywhere.
_BAGS = (Lexical(), Lexical(unit="word", first=1))
# Evenly spaced layers that are tried, the first and the last among them.
_MAX_LAYERS = 9


def candidates(facts: BackboneFacts, top: int | None = None) -> list[BackboneTap]:
    """Return the dense taps to try, the default tap first.

    All are of unit length. The length of a pooled vector depends on the number of tokens and on how alike they are; on
    all tables measured, heads without it have a smaller loss, with few rows and with many.

    Args:
        facts: Facts about the backbone.
        top: Try the outputs of the top so many blocks only.
    """
    count = len(facts.widths)
    tried = count if top is None else min(top, count)
    layers = sorted({round(layer) - tried for layer in np.linspace(0, tried - 1, min(tried, _MAX_LAYERS))})
    pools = ("mean", "last", "max") if facts.causal else ("mean", "cls", "max")
    default = Hidden(normalize=True).resolve(facts)
    singles = [Hidden(layer, pool, normalize=True) for layer in reversed(layers) for pool in pools]
    return list(dict.fromkeys([default, *singles]))


def lexical_candidates(facts: BackboneFacts) -> list[BackboneTap]:
    """Return the bags to try, those of words only where there is a tokenizer that marks them."""
    return [bag for bag in _BAGS if bag.unit == "token" or facts.word_pieces() is not None]
