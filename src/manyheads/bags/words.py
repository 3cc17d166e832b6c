"""Words as sequences of letters, numbered by a table of their beginnings.

A word is the sequence of its letters in lower case, as bytes of UTF-8, however a tokenizer splits it. The table is a
tree over these sequences: each node is a beginning of a word, and continues its parent's by one letter. Node ``i``
(from 1, the root is 0) is the ``i``-th of the ascending keys::

    key = parent * BASE + letter

A node has a larger number than its parent. Equal words have the same node whatever text or batch they are in, and
different words have different ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from manyheads.bags.terms import BASE, NO_UNIT, UNKNOWN
from manyheads.types import WordPieces

# Words of more bytes are unknown: each place of a word is a step.
LONGEST = 48
# The letter of a token that was added to the tokenizer later: it is in no word of the table.
NEW = 256


@dataclass(frozen=True, eq=False)
class Words:
    """The words of texts, end to end.

    Attributes:
        letters: (letters,) int64, bytes or ``NEW``.
        first: (letters,) whether it is the first letter of a word.
        last: (letters,) whether it is the last letter of a word.
        row: (letters,) number of its text.
        rows: Number of texts.
    """

    letters: np.ndarray
    first: np.ndarray
    last: np.ndarray
    row: np.ndarray
    rows: int

    @staticmethod
    def of(ids: np.ndarray, mask: np.ndarray, pieces: WordPieces) -> Words:
        """Split texts into words.

        Args:
            ids: Token ids (rows, tokens).
            mask: (rows, tokens) booleans, true for real tokens.
            pieces: The part of each token id in words.
        """
        row, flat = np.nonzero(mask)[0], ids[mask]
        listed = (flat >= 0) & (flat < len(pieces))
        index = np.where(listed, flat, 0)
        starts = pieces.offsets[index]
        lengths = np.where(listed, pieces.offsets[index + 1] - starts, 1)
        joined = np.zeros_like(listed)
        joined[1:] = (listed & pieces.joins_last[index])[1:] & (listed & pieces.joins_next[index])[:-1]
        joined[1:] &= row[1:] == row[:-1]
        token = np.repeat(np.arange(len(lengths)), lengths)
        within = np.arange(len(token)) - (np.cumsum(lengths) - lengths)[token]
        known = listed[token]
        spelled = pieces.letters[np.where(known, starts[token] + within, 0)].astype(np.int64)
        first = (within == 0) & ~joined[token]
        last = np.ones_like(first)
        last[:-1] = first[1:]
        return Words(np.where(known, spelled, NEW), first, last, row[token], len(ids))

    def beginnings(self) -> np.ndarray:
        """Return the table of all beginnings of these words, keys (nodes,) int64."""
        levels = [np.empty(0, dtype=np.int64)]

        def number(keys: np.ndarray) -> np.ndarray:
            above = sum(map(len, levels)) + 1
            levels.append(np.unique(keys))
            return above + np.searchsorted(levels[-1], keys)

        self._nodes(number)
        return np.concatenate(levels)

    def units(self, nodes: np.ndarray) -> np.ndarray:
        """Return the words of each text in order (rows, words): their nodes, ``UNKNOWN`` for words that are not in the
        table, ``NO_UNIT`` after the last word.

        Args:
            nodes: The table of beginnings, not empty.
        """

        def number(keys: np.ndarray) -> np.ndarray:
            places = np.searchsorted(nodes, keys).clip(max=len(nodes) - 1)
            return np.where(nodes[places] == keys, places + 1, UNKNOWN)

        words, row = self._nodes(number)[self.last], self.row[self.last]
        counts = np.bincount(row, minlength=self.rows)
        units = np.full((self.rows, counts.max(initial=0)), NO_UNIT)
        units[row, np.arange(len(row)) - (np.cumsum(counts) - counts)[row]] = words
        return units

    def _nodes(self, number: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the node at which each letter continues its word (letters,), ``UNKNOWN`` without one.

        Args:
            number: Returns the nodes of keys, ``UNKNOWN`` for those without one.
        """
        nodes = np.full(len(self.letters), UNKNOWN)
        letters = np.flatnonzero(self.first)
        parents = np.zeros(len(letters), dtype=np.int64)
        for _ in range(LONGEST):
            known = (parents != UNKNOWN) & (self.letters[letters] != NEW)
            letters = letters[known]
            nodes[letters] = number(parents[known] * BASE + self.letters[letters])
            letters = letters[~self.last[letters]] + 1
            parents = nodes[letters - 1]
        return nodes


def pruned(nodes: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the table of some words, and the new number of each old node (nodes + 1,), 0 for the root.

    Args:
        nodes: The table of beginnings.
        words: Nodes of the words.
    """
    parents, letters = nodes // BASE, nodes % BASE
    kept = np.zeros(len(nodes) + 1, dtype=bool)
    kept[words] = True
    for _ in range(LONGEST):
        kept[parents[kept[1:]]] = True
    kept[0] = False
    numbers = np.cumsum(kept)
    return numbers[parents[kept[1:]]] * BASE + letters[kept[1:]], numbers


def is_table(nodes: np.ndarray) -> bool:
    """Return whether keys are those of a table of beginnings."""
    parents = nodes // BASE
    return bool((nodes >= 0).all() and (np.diff(nodes) > 0).all() and (parents <= np.arange(len(nodes))).all())
