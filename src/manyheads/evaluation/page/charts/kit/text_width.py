"""How wide text is in a picture, as far as that can be known without the reader's font."""

from __future__ import annotations

import unicodedata

# Widths of characters in the wider ones of the usual fonts, in pixels at the size of tick labels.
_NARROW, _USUAL, _CAPITAL, _WIDE = 4.8, 7.4, 9.4, 13.0
_NARROW_CHARACTERS, _WIDE_CHARACTERS = frozenset("fijlrtI.,:;|!'() "), frozenset("mwMW@%&")


def text_width(text: str) -> float:
    """Return how wide a line of text is, rather too much than too little."""
    return sum(map(_width, text))


def fitted(text: str, room: float) -> str:
    """Return a text, cut so that it is at most so wide."""
    if text_width(text) <= room:
        return text
    while text and text_width(text) > room - _WIDE:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _width(character: str) -> float:
    if character in _NARROW_CHARACTERS:
        return _NARROW
    if character in _WIDE_CHARACTERS or unicodedata.east_asian_width(character) in "WF":
        return _WIDE
    return _CAPITAL if character.isupper() or not character.isascii() else _USUAL
