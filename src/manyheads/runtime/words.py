"""The rules by which texts are split into words."""

from __future__ import annotations

# First character of a word, and the character after its last one.
Place = tuple[int, int]

WORD_RULES = ("punctuation", "spaces")
