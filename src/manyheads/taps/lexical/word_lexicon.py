"""The words that a bag knows, and its terms of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.taps.lexical.terms import BASE, Lexicon, terms_of
from manyheads.taps.lexical.words import Words, pruned
from manyheads.types import Features, WordPieces

# The key of a beginning that no word has: it is no byte of UTF-8.
NO_BEGINNING = 255


@dataclass(frozen=True, eq=False)
class WordLexicon(Lexicon):
    """The terms of a bag of words.

    Attributes:
        nodes: The table of beginnings of the words in the terms, see ``words.py``.
        pieces: The part of each token id in words.
    """

    nodes: Tensor
    pieces: WordPieces

    @property
    def tables(self) -> tuple[int, int, int]:
        """Numbers of beginnings, token ids and letters."""
        return len(self.nodes), len(self.pieces), len(self.pieces.letters)

    @staticmethod
    def of_words(
        features: Features, pieces: WordPieces, pairs: bool, first: int | None, least: int, most: int
    ) -> WordLexicon:
        """Return the terms of training texts.

        Args:
            features: Token ids of the texts.
            pieces: The part of each token id in words.
            pairs: Whether pairs of neighbors are terms too.
            first: Number of words of each text, from its first one; all by default.
            least: Number of texts that a term must be in, if any term is in so many.
            most: Maximum number of terms.
        """
        assert features.mask is not None
        words = Words.of(features.values, features.mask, pieces)
        nodes = words.beginnings()
        if not len(nodes):  # texts without words: a term that no text has
            return WordLexicon(np.array([BASE]), np.ones(1, dtype=np.float32), torch.tensor([NO_BEGINNING]), pieces)
        found = Lexicon.of(terms_of(words.units(nodes)[:, :first], pairs), least, most)
        terms = torch.from_numpy(found.terms)
        singles, seconds = terms // BASE, terms % BASE
        kept, numbers = pruned(nodes, torch.cat([singles, seconds]))
        renumbered = numbers[singles] * BASE + numbers[seconds]
        return WordLexicon(renumbered.numpy(), found.weights, kept, pieces)
