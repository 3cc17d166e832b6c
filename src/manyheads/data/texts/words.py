"""The words of a text, and their characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

# First character of a word, and the character after its last one.
Place = tuple[int, int]

# By the names that a token head gives them.
RULES = {"punctuation": re.compile(r"\w+|[^\w\s]"), "spaces": re.compile(r"\S+")}


def find_words(text: str, rule: str) -> list[Place]:
    """Return the characters of each word of a text.

    Args:
        text: The text.
        rule: ``"punctuation"`` (runs of letters, digits and underscores, and every other symbol) or ``"spaces"``
            (as ``str.split``).
    """
    return [match.span() for match in RULES[rule].finditer(text)]


def joined(words: Sequence[str]) -> tuple[str, list[Place]]:
    """Return words joined by spaces, and the characters of each word."""
    places, start = [], 0
    for word in words:
        places.append((start, start + len(word)))
        start += len(word) + 1
    return " ".join(words), places
