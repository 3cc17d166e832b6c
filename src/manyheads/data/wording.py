"""Prompts and label words as token ids, by the backbone's own tokenizer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from manyheads.taps.prompted import SLOT
from manyheads.types import Template

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class TokenizerWording:
    """What a tokenizer makes of words that are not the user's texts.

    Args:
        tokenizer: The backbone's own.
        limit: Most tokens of a row, or ``None``.
    """

    tokenizer: Any
    limit: int | None

    def template(self, prompt: str) -> Template:
        """Return a prompt as token ids; its two sides are tokenised apart from the text and from each other."""
        before, after = prompt.split(SLOT)
        opening, closing = self._around()
        return Template(tuple(self._ids(before)), tuple(self._ids(after)), opening, closing, self.limit)

    def word(self, word: str) -> list[list[int]]:
        """Return the token ids of each word of a phrase as it stands behind a blank; what holds no letter or digit is
        one word."""
        return [self._behind_blank(part) for part in _WORD.findall(word) or [word]]

    def empty(self) -> list[int]:
        """Return what stands for a text without any token: that which begins or ends a document."""
        own = list(self.tokenizer("")["input_ids"])
        return own or [start_of_document(self.tokenizer)]

    def _behind_blank(self, word: str) -> list[int]:
        # Byte-level tokenizers keep the blank in the word's first piece; others give it a piece of its own, or add one
        # themselves, and are better asked without.
        spaced, alone = self._ids(f" {word}"), self._ids(word)
        return spaced if len(spaced) <= len(alone) else alone

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the special tokens in front of and behind every text."""
        plain, whole = self._ids("a"), list(self.tokenizer("a")["input_ids"])
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return tuple(whole[:start]), tuple(whole[start + len(plain) :])
        return (), ()


def start_of_document(tokenizer: Any) -> int:
    """Return the id of the token that begins or ends a document, or the nearest to one that a tokenizer has."""
    known = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
    return int(next(candidate for candidate in known if candidate is not None))
