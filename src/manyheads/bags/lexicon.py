"""The terms of a bag, and the bags of texts::

    frequency of a term = 1 + ln(count of the term in the text)
    weight of a term    = ln((1 + texts) / (1 + texts with the term)) + 1
    bag                 = frequency * weight of each term, divided by the length of this vector

as scikit-learn's ``TfidfTransformer(sublinear_tf=True)``. The bag of a text without known terms is zero.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from manyheads.bags.sparse_bags import SparseBags
from manyheads.bags.terms import BASE, NO_UNIT, Counts, terms_of
from manyheads.errors import HeadError

# Number of texts that must have a pair or a word; one is enough for a token, of which there are fewer.
LEAST_TEXTS = 2


@dataclass(frozen=True, eq=False)
class Lexicon(ABC):
    """The terms of a bag.

    Attributes:
        terms: Their keys (terms,), int64, ascending; see ``terms.py``.
        weights: Their inverse document frequencies (terms,), fp32.
        pairs: Whether pairs of neighbors are terms too.
    """

    terms: np.ndarray
    weights: np.ndarray
    pairs: bool

    @abstractmethod
    def units(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the units of each text in order (rows, units) int64; see ``terms.py``."""

    def bags(self, ids: np.ndarray, mask: np.ndarray) -> SparseBags:
        """Return the tf-idf bags of texts, each of unit length or empty.

        Args:
            ids: Token ids (rows, tokens), int64.
            mask: (rows, tokens) booleans, true for real tokens.
        """
        found = Counts.of(terms_of(self.units(ids, mask), self.pairs))
        terms = np.searchsorted(self.terms, found.keys).clip(max=len(self.terms) - 1)
        known = self.terms[terms] == found.keys
        rows, terms = found.rows[known], terms[known]
        values = (1 + np.log(found.counts[known])) * self.weights[terms]
        lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(ids)))
        starts = np.searchsorted(rows, np.arange(len(ids) + 1))
        return SparseBags(starts, terms, (values / lengths[rows]).astype(np.float32))

    def check(self) -> None:
        """Check that the keys ascend, since they are found by binary search, and that the weights are positive.

        Raises:
            HeadError: they are not.
        """
        if self.terms[0] < BASE or (np.diff(self.terms) <= 0).any():
            raise HeadError("Lexical: the keys of its terms do not ascend")
        if not (self.weights > 0).all():
            raise HeadError("Lexical: the weights of its terms are not positive")


class TokenLexicon(Lexicon):
    """Terms of token ids."""

    @staticmethod
    def of(ids: np.ndarray, mask: np.ndarray, pairs: bool, most: int) -> TokenLexicon:
        """Return the terms of training texts.

        Args:
            ids: Token ids (rows, tokens), int64.
            mask: (rows, tokens) booleans, true for real tokens.
            pairs: Whether pairs of neighbors are terms too.
            most: Maximum number of terms.
        """
        keys = terms_of(_token_units(ids, mask), pairs)
        return TokenLexicon(*chosen_terms(keys, LEAST_TEXTS if pairs else 1, most), pairs)

    def units(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the ids, counted from 1."""
        return _token_units(ids, mask)


def _token_units(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, ids + 1, NO_UNIT)


def chosen_terms(keys: np.ndarray, least: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys and weights of the terms that occur in some texts but not in all; if there is none, of those that
    occur at all.

    Args:
        keys: Terms of the texts (texts, places).
        least: Number of texts that a term must be in, if any term is in so many.
        most: Maximum number of terms; the ones in the most texts are kept.
    """
    (terms, held), texts = np.unique(Counts.of(keys).keys, return_counts=True), len(keys)
    chosen = np.flatnonzero((held >= least) & (held < texts))
    if not len(chosen):
        chosen = np.flatnonzero(held < texts)
    if not len(chosen):
        chosen = np.arange(len(terms))
    if len(chosen) > most:
        chosen = np.sort(chosen[np.argsort(-held[chosen], kind="stable")[:most]])
    weights = np.log((1 + texts) / (1 + held[chosen])) + 1
    return terms[chosen], weights.astype(np.float32)
