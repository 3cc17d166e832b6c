"""Readers of bags of terms: of token ids, and of words."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional as F

from manyheads.errors import HeadError
from manyheads.taps.base import Reader
from manyheads.taps.lexical.terms import BASE, NO_UNIT, Lexicon, terms_of
from manyheads.taps.lexical.word_lexicon import NO_BEGINNING, WordLexicon
from manyheads.taps.lexical.words import Words, is_table
from manyheads.types import Features, WordPieces

# Number of texts that must have a pair or a word; one is enough for a token, of which there are fewer.
_LEAST_TEXTS = 2
# Length of the bags of first words: one penalty must fit them and the bags of whole texts. Measured.
_FIRST_LENGTH = 0.5


class LexicalReader(Reader):
    """Computes the bag of weighted terms of a text.

    Args:
        terms: Number of terms.
        pairs: Whether pairs of neighbors are terms too.

    Attributes:
        length: Length of a bag that is not empty.
        terms: Keys of the terms (terms,), int64, ascending; see ``terms.py``.
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

    @abstractmethod
    def units(self, features: Features) -> Tensor:
        """Return the units of each text in order (rows, units) int64; see ``terms.py``."""

    @abstractmethod
    def lexicon(self, features: Features) -> Lexicon:
        """Return the terms of training texts, at most as many as the reader has."""

    def matrix(self, features: Features) -> csr_array:
        """Return the bags as a sparse matrix."""
        bags = Lexicon(self.terms.numpy(), self.weights.numpy()).bags(self._keys(features))
        bags.data *= np.float32(self.length)
        return bags

    def prepare(self, features: Features, target_scores: Tensor) -> None:
        """Select the terms and compute their inverse document frequencies."""
        self.set_lexicon(self.lexicon(features))

    def set_lexicon(self, lexicon: Lexicon) -> None:
        """Set the terms and their weights."""
        self.terms.copy_(torch.from_numpy(lexicon.terms))
        self.weights.copy_(torch.from_numpy(lexicon.weights))

    def forward(self, features: Features) -> Tensor:
        """Return (rows, terms) bags of (rows, tokens) token ids, each with the reader's length or all zeros."""
        keys = self._keys(features)
        columns = torch.searchsorted(self.terms, keys).clamp(max=len(self.terms) - 1)
        known = self.terms[columns] == keys
        counts = torch.zeros((len(keys), len(self.terms)), device=keys.device)
        counts = counts.scatter_add_(1, columns, known.float())
        frequencies = torch.where(counts > 0, 1.0 + counts.clamp(min=1.0).log(), 0.0)
        return self.length * F.normalize(frequencies * self.weights, dim=1)

    def check(self) -> None:
        """Check that the keys ascend, since they are found by binary search."""
        if int(self.terms[0]) < BASE or bool((self.terms.diff() <= 0).any()):
            raise HeadError("Lexical: the keys of its terms do not ascend")

    def _keys(self, features: Features) -> Tensor:
        return terms_of(self.units(features), self.pairs)


class TokenReader(LexicalReader):
    """Reads token ids."""

    def units(self, features: Features) -> Tensor:
        """Return the ids, counted from 1."""
        assert features.mask is not None
        return (features.values + 1).masked_fill(~features.mask, NO_UNIT)

    def lexicon(self, features: Features) -> Lexicon:
        """Return the terms of training texts."""
        return Lexicon.of(self._keys(features), _LEAST_TEXTS if self.pairs else 1, len(self.terms))


class WordReader(LexicalReader):
    """Reads words. Before training it knows none.

    Args:
        terms: Number of terms.
        pairs: Whether pairs of neighbors are terms too.
        first: Number of words of each text, from its first one; ``None`` for all.
        tables: Numbers of beginnings of words, of token ids and of letters.
        word_pieces: Returns the part of each token id in words, or ``None`` without a tokenizer.

    Attributes:
        nodes: Table of the beginnings of words, int64; see ``words.py``.
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

    def units(self, features: Features) -> Tensor:
        """Return the words' nodes."""
        assert features.mask is not None
        pieces = WordPieces(self.letters, self.offsets, self.joins_last, self.joins_next)
        return Words.of(features.values, features.mask, pieces).units(self.nodes)[:, : self.first]

    def lexicon(self, features: Features) -> WordLexicon:
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
        return WordLexicon.of_words(features, pieces, self.pairs, self.first, _LEAST_TEXTS, len(self.terms))

    def set_lexicon(self, lexicon: Lexicon) -> None:
        """Set the terms, their weights and the words."""
        super().set_lexicon(lexicon)
        assert isinstance(lexicon, WordLexicon)
        self.nodes.copy_(lexicon.nodes)
        for name in ("letters", "offsets", "joins_last", "joins_next"):
            getattr(self, name).copy_(getattr(lexicon.pieces, name))

    def check(self) -> None:
        """Check that the words form a tree, and that each token's letters follow those of the one before."""
        super().check()
        if not is_table(self.nodes):
            raise HeadError("Lexical: its table of words is not one")
        ends = int(self.offsets[0]), int(self.offsets[-1])
        if ends != (0, len(self.letters)) or bool((self.offsets.diff() < 0).any()):
            raise HeadError("Lexical: the letters of its tokens overlap")
