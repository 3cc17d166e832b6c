"""The words that a bag knows, and its terms of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyheads.bags.lexicon import LEAST_TEXTS, Lexicon, chosen_terms
from manyheads.bags.terms import BASE, terms_of
from manyheads.bags.words import Words, is_table, pruned
from manyheads.errors import HeadError
from manyheads.types import WordPieces

# The key of a beginning that no word has: it is no byte of UTF-8.
NO_BEGINNING = 255


@dataclass(frozen=True, eq=False)
class WordLexicon(Lexicon):
    """Terms of words.

    Attributes:
        first: Number of words of each text, from its first one; ``None`` for all.
        nodes: The table of beginnings of the words in the terms, see ``words.py``.
        pieces: The part of each token id in words.
    """

    first: int | None
    nodes: np.ndarray
    pieces: WordPieces

    @staticmethod
    def of(
        ids: np.ndarray, mask: np.ndarray, pieces: WordPieces, pairs: bool, first: int | None, most: int
    ) -> WordLexicon:
        """Return the terms of training texts.

        Args:
            ids: Token ids (rows, tokens), int64.
            mask: (rows, tokens) booleans, true for real tokens.
            pieces: The part of each token id in words.
            pairs: Whether pairs of neighbors are terms too.
            first: Number of words of each text, from its first one; ``None`` for all.
            most: Maximum number of terms.
        """
        words, none = Words.of(ids, mask, pieces), np.array([NO_BEGINNING])
        beginnings = words.beginnings()
        nodes = beginnings if len(beginnings) else none
        terms, weights = chosen_terms(terms_of(words.units(nodes)[:, :first], pairs), LEAST_TEXTS, most)
        if not len(terms):  # texts without words that a table can contain: a term that no text has
            return WordLexicon(np.array([BASE]), np.ones(1, dtype=np.float32), pairs, first, none, pieces)
        singles, seconds = terms // BASE, terms % BASE
        kept, numbers = pruned(nodes, np.concatenate([singles, seconds]))
        return WordLexicon(numbers[singles] * BASE + numbers[seconds], weights, pairs, first, kept, pieces)

    @property
    def tables(self) -> tuple[int, int, int]:
        """Numbers of beginnings, token ids and letters."""
        return len(self.nodes), len(self.pieces), len(self.pieces.letters)

    def units(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return the words' nodes."""
        return Words.of(ids, mask, self.pieces).units(self.nodes)[:, : self.first]

    def check(self) -> None:
        """Check also that the words form a tree, and that each token's letters follow those of the one before.

        Raises:
            HeadError: they do not.
        """
        super().check()
        if not is_table(self.nodes):
            raise HeadError("Lexical: its table of words is not one")
        offsets = self.pieces.offsets
        if (offsets[0], offsets[-1]) != (0, len(self.pieces.letters)) or (np.diff(offsets) < 0).any():
            raise HeadError("Lexical: the letters of its tokens overlap")
