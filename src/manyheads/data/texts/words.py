"""The words of a text, and their characters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from manyheads.errors import InputError
from manyheads.runtime.words import WORD_RULES, Place

# Scripts without spaces between words; each of their characters, with its marks, is a word.
# Line_Break=SA is Thai, Lao, Khmer, Burmese and the scripts like them (UAX 14).
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Line_Break=SA}"
# A run of letters, digits and underscores with their marks (and the joiners of Indic and Persian words); one character
# of a script without spaces; or any other symbol, an emoji of several code points included.
_PUNCTUATION = rf"(?:(?![{_UNSPACED}])[\w\p{{M}}\u200c\u200d])+|(?!\s)\X"

_PATTERNS = dict(zip(WORD_RULES, (_PUNCTUATION, r"\S+"), strict=True))


def find_words(text: str, rule: str) -> list[Place]:
    """Return the characters of each word of a text.

    Args:
        text: The text.
        rule: ``"punctuation"`` (runs of letters, digits and underscores, and every other symbol; in scripts without
            spaces, every character) or ``"spaces"`` (as ``str.split``).

    Raises:
        InputError: the package regex is not installed.
    """
    return [match.span() for match in _pattern(rule).finditer(text)]


@cache
def _pattern(rule: str) -> Any:
    try:
        import regex
    except ImportError as error:  # predicting with a graph needs it for raw texts of token heads only
        raise InputError(
            "Splitting texts into words needs the package regex; pip install regex, or give lists of words instead"
        ) from error
    return regex.compile(_PATTERNS[rule])


def joined(words: Sequence[str]) -> tuple[str, list[Place]]:
    """Return words joined by spaces, and the characters of each word."""
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), places
