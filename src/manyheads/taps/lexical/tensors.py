"""The bags of ``manyheads.bags`` in torch, for tensors on any device.

The same steps as there, except that words are walked letter by letter after one sort of all letters by their places:
a selection at each step would make a GPU wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.bags.terms import BASE, NO_TERM, NO_UNIT, UNKNOWN
from manyheads.bags.words import LONGEST, NEW


def terms_of(units: Tensor, pairs: bool) -> Tensor:
    """Return the keys of a text's terms (rows, places), ``NO_TERM`` elsewhere; see ``bags.terms.terms_of``.

    Args:
        units: (rows, units) int64.
        pairs: Whether neighbors are terms too.
    """
    singles = units.clamp(min=NO_UNIT) * BASE
    if not pairs:
        return singles
    first, second = units[:, :-1], units[:, 1:]
    both = (first > NO_UNIT) & (second > NO_UNIT)
    return torch.cat([singles, torch.where(both, first * BASE + second, NO_TERM)], dim=1)


def dense_bags(keys: Tensor, terms: Tensor, weights: Tensor) -> Tensor:
    """Return bags (rows, terms), each of unit length or all zeros; see ``bags.lexicon``.

    Args:
        keys: Terms of the texts (rows, places).
        terms: The keys of the bag's terms (terms,), ascending.
        weights: Their inverse document frequencies (terms,).
    """
    columns = torch.searchsorted(terms, keys).clamp(max=len(terms) - 1)
    known = terms[columns] == keys
    counts = torch.zeros((len(keys), len(terms)), device=keys.device)
    counts = counts.scatter_add_(1, columns, known.float())
    frequencies = torch.where(counts > 0, 1.0 + counts.clamp(min=1.0).log(), 0.0)
    return F.normalize(frequencies * weights, dim=1)


@dataclass(frozen=True, eq=False)
class Pieces:
    """The part of each token id in words: the tensors of ``WordPieces``."""

    letters: Tensor
    offsets: Tensor
    joins_last: Tensor
    joins_next: Tensor


@dataclass(frozen=True, eq=False)
class Words:
    """The words of texts, end to end; see ``bags.words.Words``.

    Attributes:
        letters: (letters,) int64, bytes or ``NEW``.
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
    def of(ids: Tensor, mask: Tensor, pieces: Pieces) -> Words:
        """Split texts into words.

        Args:
            ids: Token ids (rows, tokens).
            mask: (rows, tokens) booleans, true for real tokens.
            pieces: The part of each token id in words.
        """
        row, flat = mask.nonzero()[:, 0], ids[mask]
        listed = (flat >= 0) & (flat < len(pieces.joins_last))
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
        return Words(spelled.masked_fill(~known, NEW), place, last, row[token], len(ids))

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
        return parents * BASE + self.letters[letters], (parents != UNKNOWN) & (self.letters[letters] != NEW)
