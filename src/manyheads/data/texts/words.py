"""The words of a text, and their characters."""

from __future__ import annotations

from collections.abc import Sequence

import regex

from manyheads.runtime.words import WORD_RULES, Place

# Scripts without spaces between words; each of their characters, with its marks, is a word.
# Line_Break=SA is Thai, Lao, Khmer, Burmese and the scripts like them (UAX 14).
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Line_Break=SA}"
# A run of letters, digits and underscores with their marks (and the joiners of Indic and Persian words); one character
# of a script without spaces; or any other symbol, an emoji of several code points included.
_PUNCTUATION = rf"(?:(?![{_UNSPACED}])[\w\p{{M}}\u200c\u200d])+|(?!\s)\X"

_PATTERNS = dict(zip(WORD_RULES, (regex.compile(_PUNCTUATION), regex.compile(r"\S+")), strict=True))


def find_words(text: str, rule: str) -> list[Place]:
    """Return the characters of each word of a text.

    Args:
        text: The text.
        rule: ``"punctuation"`` (runs of letters, digits and underscores, and every other symbol; in scripts without
            spaces, every character) or ``"spaces"`` (as ``str.split``).
    """
    return [match.span() for match in _PATTERNS[rule].finditer(text)]


def joined(words: Sequence[str]) -> tuple[str, list[Place]]:
    """Return words joined by spaces, and the characters of each word."""
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), places
