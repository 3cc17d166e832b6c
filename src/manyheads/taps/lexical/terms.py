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
import torch
from scipy.sparse import csr_array
from torch import Tensor

BASE = 1 << 31
NO_UNIT = 0
UNKNOWN = -1
NO_TERM = 0


def terms_of(units: Tensor, pairs: bool) -> Tensor:
    """Return the keys of a text's terms (rows, places), ``NO_TERM`` elsewhere.

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


@dataclass(frozen=True, eq=False)
class Lexicon:
    """The terms of a bag.

    Attributes:
        terms: Their keys (terms,), int64, ascending.
        weights: Their inverse document frequencies (terms,), fp32.
    """

    terms: np.ndarray
    weights: np.ndarray

    @staticmethod
    def of(keys: Tensor, least: int, most: int) -> Lexicon:
        """Return the terms that occur in some texts but not in all; if there is none, those that occur at all.

        Args:
            keys: Terms of the texts (texts, places).
            least: Number of texts that a term must be in, if any term is in so many.
            most: Maximum number of terms; the ones in the most texts are kept.
        """
        terms, counts = _counted(keys)
        held, texts = np.bincount(counts.indices, minlength=len(terms)), len(keys)
        chosen = np.flatnonzero((held >= least) & (held < texts))
        if not len(chosen):
            chosen = np.flatnonzero(held < texts)
        if not len(chosen):
            chosen = np.arange(len(terms))
        if len(chosen) > most:
            chosen = np.sort(chosen[np.argsort(-held[chosen], kind="stable")[:most]])
        weights = np.log((1 + texts) / (1 + held[chosen])) + 1
        return Lexicon(terms[chosen], weights.astype(np.float32))

    def bags(self, keys: Tensor) -> csr_array:
        """Return the tf-idf bags of texts as a sparse (texts, terms) fp32 matrix, each row of unit length or empty.

        Args:
            keys: Terms of the texts (texts, places).
        """
        found, counts = _counted(keys)
        columns = np.searchsorted(self.terms, found).clip(max=len(self.terms) - 1)
        known = self.terms[columns] == found
        kept = known[counts.indices]
        rows = np.repeat(np.arange(len(keys)), np.diff(counts.indptr))[kept]
        places = columns[counts.indices[kept]]
        values = (1 + np.log(counts.data[kept])) * self.weights[places]
        lengths = np.sqrt(np.bincount(rows, values.astype(np.float64) ** 2, minlength=len(keys)))
        table = (values / lengths[rows]).astype(np.float32), (rows, places)
        return csr_array(table, shape=(len(keys), len(self.terms)))


def _counted(keys: Tensor) -> tuple[np.ndarray, csr_array]:
    """Return the different terms of texts, ascending, and how often each text has each, (texts, terms)."""
    table = keys.numpy()
    rows, places = np.nonzero(table)
    terms, columns = np.unique(table[rows, places], return_inverse=True)
    ones = np.ones(len(rows), dtype=np.float32)
    offsets = np.searchsorted(rows, np.arange(len(table) + 1))
    counts = csr_array((ones, columns, offsets), (len(table), len(terms)), copy=True)
    counts.sum_duplicates()
    return terms, counts
