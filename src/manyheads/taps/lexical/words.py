"""Words as sequences of letters, numbered by a table of their beginnings.

A word is the sequence of its letters in lower case, as bytes of UTF-8, however a tokenizer splits it. The table is a
tree over these sequences: each node is a beginning of a word, and continues its parent's by one letter. Node ``i``
(from 1, the root is 0) is the ``i``-th of the ascending keys::

    key = parent * BASE + letter

A node has a larger number than its parent. Equal words have the same node whatever text or batch they are in, and
different words have different ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from manyheads.taps.lexical.terms import BASE, NO_UNIT, UNKNOWN
from manyheads.types import WordPieces

# Words of more bytes are unknown: each place of a word is a step.
LONGEST = 48
# The letter of a token that was added to the tokenizer later: it is in no word of the table.
_NEW = 256


@dataclass(frozen=True, eq=False)
class Words:
    """The words of texts, end to end.

    Attributes:
        letters: (letters,) int64, bytes or ``_NEW``.
        place: (letters,) place of each letter in its word, from 0.
        last: (letters,) whether it is the last letter of a word.
        row: (letters,) number of its text.
        rows: Number of texts.
    """

    letters: Tensor
    place: Tensor
    last: Tensor
    row: Tensor
    rows: int

    @staticmethod
    def of(ids: Tensor, mask: Tensor, pieces: WordPieces) -> Words:
        """Split texts into words.

        Args:
            ids: Token ids (rows, tokens).
            mask: (rows, tokens) booleans, true for real tokens.
            pieces: The part of each token id in words.
        """
        row, flat = mask.nonzero()[:, 0], ids[mask]
        listed = (flat >= 0) & (flat < len(pieces))
        index = flat.masked_fill(~listed, 0)
        starts = pieces.offsets[index]
        lengths = torch.where(listed, pieces.offsets[index + 1] - starts, 1)
        joined = torch.zeros_like(listed)
        joined[1:] = (listed & pieces.joins_last[index])[1:] & (listed & pieces.joins_next[index])[:-1]
        joined[1:] &= row[1:] == row[:-1]
        token = torch.repeat_interleave(lengths)
        order = torch.arange(len(token), device=ids.device)
        within = order - (lengths.cumsum(dim=0) - lengths)[token]
        known = listed[token]
        spelled = pieces.letters[(starts[token] + within).masked_fill(~known, 0)].long()
        first = (within == 0) & ~joined[token]
        place = order - torch.where(first, order, 0).cummax(dim=0).values
        last = torch.ones_like(first)
        last[:-1] = first[1:]
        return Words(spelled.masked_fill(~known, _NEW), place, last, row[token], len(ids))

    def beginnings(self) -> Tensor:
        """Return the table of all beginnings of these words, keys (nodes,) int64."""
        numbers, levels, count = torch.full_like(self.letters, UNKNOWN), [], 0
        for letters in self._by_place():
            keys, known = self._keys(numbers, letters)
            levels.append(torch.unique(keys[known]))
            numbers[letters] = torch.where(known, count + 1 + torch.searchsorted(levels[-1], keys), UNKNOWN)
            count += len(levels[-1])
        return torch.cat(levels) if levels else torch.empty(0, dtype=torch.int64)

    def units(self, nodes: Tensor) -> Tensor:
        """Return the words of each text in order (rows, words): their nodes, ``UNKNOWN`` for words that are not in the
        table, ``NO_UNIT`` after the last word.

        Args:
            nodes: The table of beginnings, not empty.
        """
        numbers = torch.full_like(self.letters, UNKNOWN)
        for letters in self._by_place():
            keys, known = self._keys(numbers, letters)
            places = torch.searchsorted(nodes, keys).clamp(max=len(nodes) - 1)
            numbers[letters] = torch.where(known & (nodes[places] == keys), places + 1, UNKNOWN)
        row = self.row[self.last]
        counts = torch.bincount(row, minlength=self.rows)
        units = numbers.new_full((self.rows, int(counts.max()) if self.rows else 0), NO_UNIT)
        starts = counts.cumsum(dim=0) - counts
        units[row, torch.arange(len(row), device=row.device) - starts[row]] = numbers[self.last]
        return units

    def _by_place(self) -> Iterator[Tensor]:
        """Yield the letters at each place of the words, up to the longest."""
        counts = torch.bincount(self.place)[:LONGEST].tolist()
        order = torch.argsort(self.place, stable=True)
        yield from torch.split(order[: sum(counts)], counts) if counts else ()

    def _keys(self, numbers: Tensor, letters: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys of the nodes for letters of one place, and whether there may be such nodes.

        Args:
            numbers: Nodes of all letters (letters,), for those at the place before.
            letters: Numbers of the letters.
        """
        first = self.place[letters] == 0
        parents = numbers[letters - 1].masked_fill(first, 0)
        return parents * BASE + self.letters[letters], (parents != UNKNOWN) & (self.letters[letters] != _NEW)


def pruned(nodes: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """Return the table of some words, and the new number of each old node (nodes + 1,), 0 for the root.

    Args:
        nodes: The table of beginnings.
        words: Nodes of the words.
    """
    parents, letters = nodes // BASE, nodes % BASE
    kept = torch.zeros(len(nodes) + 1, dtype=torch.bool)
    kept[words] = True
    for _ in range(LONGEST):
        kept[parents[kept[1:]]] = True
    kept[0] = False
    numbers = kept.cumsum(dim=0)
    return numbers[parents[kept[1:]]] * BASE + letters[kept[1:]], numbers


def is_table(nodes: Tensor) -> bool:
    """Return whether keys are those of a table of beginnings."""
    parents = nodes // BASE
    return bool((nodes >= 0).all() and (nodes.diff() > 0).all() and (parents <= torch.arange(len(nodes))).all())
