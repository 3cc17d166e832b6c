"""Readers of bags of terms: of token ids, and of words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from manyheads.bags import Lexicon, TokenLexicon, WordLexicon
from manyheads.bags.terms import BASE, NO_UNIT
from manyheads.bags.word_lexicon import NO_BEGINNING
from manyheads.errors import HeadError
from manyheads.taps.base import Reader
from manyheads.taps.lexical.tensors import Pieces, Words, dense_bags, terms_of
from manyheads.types import Features, WordPieces

# Length of the bags of first words: one penalty must fit them and the bags of whole texts. Measured.
_FIRST_LENGTH = 0.5


class LexicalReader(Reader):
    """Computes the bag of weighted terms of a text.

    Args:
        terms: Number of terms.
        pairs: Whether pairs of neighbors are terms too.

    Attributes:
        length: Length of a bag that is not empty.
        terms: Keys of the terms (terms,), int64, ascending; see ``bags/terms.py``.
        weights: Their inverse document frequencies (terms,), fp32.
    """

    passes = False
    length: float = 1.0
    terms: Tensor
    weights: Tensor

    def __init__(self, terms: int, pairs: bool = False) -> None:
        super().__init__()
        self.pairs = pairs
        self.register_buffer("terms", torch.arange(1, terms + 1) * BASE)
        self.register_buffer("weights", torch.ones(terms))

    @property
    def sparse(self) -> bool:
        """Always true."""
        return True

    @property
    @abstractmethod
    def lexicon(self) -> Lexicon:
        """The terms in numpy."""

    @abstractmethod
    def units(self, features: Features) -> Tensor:
        """Return the units of each text in order (rows, units) int64; see ``bags/terms.py``."""

    @abstractmethod
    def lexicon_of(self, features: Features) -> Lexicon:
        """Return the terms of training texts, at most as many as the reader has."""

    def matrix(self, features: Features) -> csr_array:
        """Return the bags as a sparse matrix."""
        bags = self.lexicon.bags(*arrays_of(features))
        table = bags.values * np.float32(self.length), bags.terms, bags.starts
        return csr_array(table, shape=(len(features.values), len(self.terms)))

    def prepare(self, features: Features, target_scores: Tensor) -> None:
        """Select the terms and compute their inverse document frequencies."""
        self.set_lexicon(self.lexicon_of(features))

    def set_lexicon(self, lexicon: Lexicon) -> None:
        """Set the terms and their weights."""
        self.terms.copy_(torch.from_numpy(lexicon.terms))
        self.weights.copy_(torch.from_numpy(lexicon.weights))

    def forward(self, features: Features) -> Tensor:
        """Return (rows, terms) bags of (rows, tokens) token ids, each with the reader's length or all zeros."""
        return self.length * dense_bags(terms_of(self.units(features), self.pairs), self.terms, self.weights)

    def check(self) -> None:
        """Check the terms, and the tables of words."""
        self.lexicon.check()


class TokenReader(LexicalReader):
    """Reads token ids."""

    @property
    def lexicon(self) -> TokenLexicon:
        """The terms in numpy."""
        return TokenLexicon(_array(self.terms), _array(self.weights), self.pairs)

    def units(self, features: Features) -> Tensor:
        """Return the ids, counted from 1."""
        assert features.mask is not None
        return (features.values + 1).masked_fill(~features.mask, NO_UNIT)

    def lexicon_of(self, features: Features) -> TokenLexicon:
        """Return the terms of training texts."""
        return TokenLexicon.of(*arrays_of(features), self.pairs, len(self.terms))


class WordReader(LexicalReader):
    """Reads words. Before training it knows none.

    Args:
        terms: Number of terms.
        pairs: Whether pairs of neighbors are terms too.
        first: Number of words of each text, from its first one; ``None`` for all.
        tables: Numbers of beginnings of words, of token ids and of letters.
        word_pieces: Returns the part of each token id in words, or ``None`` without a tokenizer.

    Attributes:
        nodes: Table of the beginnings of words, int64; see ``bags/words.py``.
        letters, offsets, joins_last, joins_next: The part of each token id in words; see ``WordPieces``.
    """

    nodes: Tensor
    letters: Tensor
    offsets: Tensor
    joins_last: Tensor
    joins_next: Tensor

    def __init__(
        self,
        terms: int,
        pairs: bool,
        first: int | None,
        tables: tuple[int, int, int],
        word_pieces: Callable[[], WordPieces | None],
    ) -> None:
        super().__init__(terms, pairs)
        nodes, ids, letters = tables
        self.length = 1.0 if first is None else _FIRST_LENGTH
        self.first, self._word_pieces = first, word_pieces
        self.register_buffer("nodes", torch.arange(nodes) + NO_BEGINNING)
        self.register_buffer("letters", torch.zeros(letters, dtype=torch.uint8))
        self.register_buffer("offsets", (torch.arange(ids + 1) // ids) * letters)
        self.register_buffer("joins_last", torch.zeros(ids, dtype=torch.bool))
        self.register_buffer("joins_next", torch.zeros(ids, dtype=torch.bool))

    @property
    def _pieces(self) -> Pieces:
        return Pieces(self.letters, self.offsets, self.joins_last, self.joins_next)

    @property
    def lexicon(self) -> WordLexicon:
        """The terms and the words in numpy."""
        pieces = WordPieces(*map(_array, (self.letters, self.offsets, self.joins_last, self.joins_next)))
        return WordLexicon(_array(self.terms), _array(self.weights), self.pairs, self.first, _array(self.nodes), pieces)

    def units(self, features: Features) -> Tensor:
        """Return the words' nodes."""
        assert features.mask is not None
        return Words.of(features.values, features.mask, self._pieces).units(self.nodes)[:, : self.first]

    def lexicon_of(self, features: Features) -> WordLexicon:
        """Return the terms of training texts.

        Raises:
            HeadError: there is no tokenizer.
        """
        pieces = self._word_pieces()
        if pieces is None:
            raise HeadError(
                "Lexical: unit='word' needs the tokenizer, whose marks separate words; wrap the model with it, or read "
                "tokens: Lexical()"
            )
        return WordLexicon.of(*arrays_of(features), pieces, self.pairs, self.first, len(self.terms))

    def set_lexicon(self, lexicon: Lexicon) -> None:
        """Set the terms, their weights and the words."""
        super().set_lexicon(lexicon)
        assert isinstance(lexicon, WordLexicon)
        self.nodes.copy_(torch.from_numpy(lexicon.nodes))
        for name in ("letters", "offsets", "joins_last", "joins_next"):
            getattr(self, name).copy_(torch.from_numpy(getattr(lexicon.pieces, name)))


def arrays_of(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids and their mask in numpy."""
    assert features.mask is not None
    return _array(features.values), _array(features.mask)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()
