"""The lexical tap and its sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from manyheads.bags import WordLexicon
from manyheads.errors import HeadError, did_you_mean, listed
from manyheads.taps.base import BackboneTap
from manyheads.taps.lexical.readers import LexicalReader, TokenReader, WordReader
from manyheads.types import BackboneFacts, Features, Request, States

_UNITS = ("token", "word")
_NGRAMS = ((1, 1), (1, 2))
# Sizes of the tables before training: one beginning that no word has.
_NO_TABLES = (1, 1, 1)
# Maximum number of words and pairs by default: 4 MB of weights for a head with 32 labels.
_MAX_TERMS = 32_768


@dataclass(frozen=True)
class Lexical(BackboneTap):
    """Read a TF-IDF bag of the text's tokens or words.

    It contains rare words that a sentence's vector may lose. The weights are those of scikit-learn's
    ``TfidfTransformer(sublinear_tf=True)``: ``1 + ln(count)`` times ``ln((1 + texts) / (1 + texts with the term)) +
    1``, scaled to unit length per text. ``Frozen`` counts the training texts; until then every term has weight 1.

    A word is a sequence of letters or digits, apart from their case, that the tokenizer's marks (``##``, ``Ġ``, ``▁``)
    do not separate. Words are found among the token ids, so they need no text, and the tables of words are saved with
    the head. In scripts without spaces, every token is a word. Before ``train``, no word is known.

    Args:
        unit: ``"token"`` or ``"word"``.
        ngrams: ``(1, 1)`` for single units; ``(1, 2)`` for pairs of neighbors too, punctuation between words left out.
        first: Number of words to read of each text, from its first one; ``None`` for all. Texts that begin with what
            they are about, such as commands, say most in their first word. Only for words.
        tokens: Maximum number of terms (tokens, words and pairs), those in the most texts; by default all single
            tokens, or 32,768 words or pairs. Training sets it to their number. It drops terms that occur in all
            training texts, words and pairs in fewer than two, and tokens in none.
        tables: Sizes of the tables of words: beginnings of words, token ids and letters. Set by training.

    Raises:
        HeadError: an unknown unit, other ngrams, a number that is not positive, ``first`` for tokens, or, in training,
            words without a tokenizer.

    Examples:
        >>> spec = mh.Multiclass(labels=["low", "high"], reads=[mh.Hidden(), mh.Lexical()])
        >>> len(model.add_head("risk", spec).taps)
        2
        >>> mh.Lexical(unit="word", ngrams=(1, 2), tokens=5000).ngrams
        (1, 2)
    """

    kind: ClassVar[str] = "lexical"

    unit: str = "token"
    ngrams: Sequence[int] = (1, 1)
    first: int | None = None
    tokens: int | None = None
    tables: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.unit not in _UNITS:
            raise HeadError(
                f"Lexical: unit must be one of {listed(_UNITS)}, got {self.unit!r}{did_you_mean(self.unit, _UNITS)}"
            )
        for name in ("ngrams", "tables"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list) else value)
        if self.ngrams not in _NGRAMS:
            raise HeadError(f"Lexical: ngrams must be (1, 1) or (1, 2), got {self.ngrams!r}")
        for name in ("first", "tokens"):
            value = getattr(self, name)
            if not (value is None or _is_positive(value)):
                raise HeadError(f"Lexical: {name} must be a positive whole number or None, got {value!r}")
        if self.first is not None and self.unit != "word":
            raise HeadError(f"Lexical: first={self.first} counts words; write unit='word' too, or leave it out")
        if self.tables is not None and not _are_sizes(self.tables):
            raise HeadError(f"Lexical: tables must be three positive whole numbers or None, got {self.tables!r}")

    def __str__(self) -> str:
        shown = {"unit": "token", "ngrams": (1, 1), "first": None, "tokens": None}
        given = [f"{name}={getattr(self, name)!r}" for name, usual in shown.items() if getattr(self, name) != usual]
        return f"Lexical({', '.join(given)})"

    @property
    def pairs(self) -> bool:
        """Whether pairs of neighbors are terms too."""
        return self.ngrams == (1, 2)

    def resolve(self, facts: BackboneFacts) -> Lexical:
        """Weigh the whole vocabulary until training decides."""
        if self.unit == "token" and not self.pairs:
            return replace(self, tokens=min(self.tokens or facts.vocabulary_size, facts.vocabulary_size))
        tables = _NO_TABLES if self.unit == "word" and self.tables is None else self.tables
        return replace(self, tokens=self.tokens or _MAX_TERMS, tables=tables)

    def request(self, facts: BackboneFacts) -> Request:
        """Ask nothing of the backbone."""
        return Request()

    def read(self, states: States) -> Features:
        """Return the token ids themselves."""
        return Features(states.input_ids, states.mask)

    def width(self, facts: BackboneFacts) -> int:
        """Return the number of terms."""
        assert self.tokens is not None
        return self.tokens

    @property
    def prepares(self) -> bool:
        """Always true: the terms are counted on the training rows."""
        return True

    def sized(self, features: Features, facts: BackboneFacts) -> Lexical:
        """Return the tap with the number of terms that the training texts have."""
        lexicon = self.resolve(facts).reader(facts).lexicon_of(features)
        tables = lexicon.tables if isinstance(lexicon, WordLexicon) else None
        return replace(self, tokens=len(lexicon.terms), tables=tables)

    def reader(self, facts: BackboneFacts) -> LexicalReader:
        """Return the reader of these terms."""
        terms = self.width(facts)
        if self.unit == "token":
            return TokenReader(terms, self.pairs)
        assert self.tables is not None
        nodes, ids, letters = self.tables
        return WordReader(terms, self.pairs, self.first, (nodes, ids, letters), facts.word_pieces)


def _is_positive(value: object) -> bool:
    return type(value) is int and value > 0


def _are_sizes(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 3 and all(map(_is_positive, value))
