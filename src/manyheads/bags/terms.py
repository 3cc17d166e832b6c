"""Terms: single units of a text and pairs of neighbors, as integers, and how often texts contain them.

A unit is a token or a word, numbered from 1. ``NO_UNIT`` fills a row of units up, and ``UNKNOWN`` is a unit that no
term contains. With ``BASE = 2^31``, above every number of a unit, the key of a term is::

    key = first * BASE             a single unit
    key = first * BASE + second    a pair

Keys are exact: no two terms have the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BASE = 1 << 31
NO_UNIT = 0
UNKNOWN = -1
NO_TERM = 0


def terms_of(units: np.ndarray, pairs: bool) -> np.ndarray:
    """Return the keys of a text's terms (rows, places), ``NO_TERM`` elsewhere.

    Args:
        units: (rows, units) int64.
        pairs: Whether neighbors are terms too.
    """
    singles = units.clip(min=NO_UNIT) * BASE
    if not pairs:
        return singles
    first, second = units[:, :-1], units[:, 1:]
    both = (first > NO_UNIT) & (second > NO_UNIT)
    return np.concatenate([singles, np.where(both, first * BASE + second, NO_TERM)], axis=1)


@dataclass(frozen=True, eq=False)
class Counts:
    """How often texts contain terms, by text and then by key.

    Attributes:
        rows: Number of the text (found,).
        keys: The term (found,).
        counts: How often the text contains it (found,).
    """

    rows: np.ndarray
    keys: np.ndarray
    counts: np.ndarray

    @staticmethod
    def of(keys: np.ndarray) -> Counts:
        """Count the terms of texts.

        Args:
            keys: Terms of the texts (texts, places).
        """
        ordered = np.sort(keys, axis=1)
        starts = np.ones(keys.shape, dtype=bool)
        starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        places = np.flatnonzero(starts)
        counts = np.diff(places, append=ordered.size)
        found = ordered.ravel()[places]
        kept = found != NO_TERM
        return Counts(places[kept] // max(keys.shape[1], 1), found[kept], counts[kept])
