"""Prompts and label words as token ids, and words as pieces, by the backbone's own tokenizer."""

from __future__ import annotations

from dataclasses import dataclass, field

from manyheads.data.texts.tokenize import pieces_of, special_tokens, start_of_document
from manyheads.data.texts.word_pieces import word_pieces
from manyheads.taps.prompted import SLOT
from manyheads.types import Template, Tokenizer, WordPieces

# Punctuation that is stripped from the edges of a word.
_EDGES = ",;:.!?()[]{}\"'"


@dataclass(frozen=True)
class TextPromptTokenizer:
    """Tokenizes prompts and label words.

    Args:
        tokenizer: The backbone's own.
        limit: Most tokens of a row, or ``None``.
    """

    tokenizer: Tokenizer
    limit: int | None
    _pieces: dict[int, WordPieces] = field(default_factory=dict, init=False, repr=False, compare=False)

    def template(self, prompt: str) -> Template:
        """Return a prompt as token ids; the two sides are tokenized separately from the text."""
        before, after = prompt.split(SLOT)
        opening, closing = special_tokens(self.tokenizer)
        empty = tuple(self.empty_text())
        return Template(tuple(self._ids(before)), tuple(self._ids(after)), opening, closing, self.limit, empty)

    def has_separate_space(self, prompt: str) -> bool:
        """Return whether a side of a prompt ends with a space that becomes a separate token, unlike in running text."""
        before, after = prompt.split(SLOT)
        inside = len(self._ids(" a")) == 1 and bool(self._ids(" "))
        return inside and (before.endswith(" ") or after.endswith(" "))

    def word_pieces(self, phrase: str) -> list[list[int]]:
        """Return the token ids of each word of a phrase after a space, without punctuation at its edges."""
        parts = [part.strip(_EDGES) or part for part in phrase.split()]
        return [self._after_space(part) for part in parts or [phrase]]

    def empty_text(self) -> list[int]:
        """Return the tokens of an empty text: the start or end of a document."""
        own = list(self.tokenizer("")["input_ids"])
        return own or [start_of_document(self.tokenizer)]

    def vocabulary_pieces(self) -> WordPieces:
        """Return the part of each token of the vocabulary in words."""
        size = len(self.tokenizer)
        if size not in self._pieces:  # tokens are added, never taken away
            self._pieces[size] = word_pieces(self.tokenizer)
        return self._pieces[size]

    def _after_space(self, word: str) -> list[int]:
        # Byte-level tokenizers keep the space in the word's first piece. Others encode it as a separate piece, or add
        # one themselves, so the shorter encoding is used.
        spaced, alone = self._ids(f" {word}"), self._ids(word)
        return spaced if len(spaced) <= len(alone) else alone

    def _ids(self, text: str) -> list[int]:
        return list(pieces_of(self.tokenizer, text)) if text else []
