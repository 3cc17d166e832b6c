"""Text of users as it may stand in a page."""

from __future__ import annotations

import re

# Controls that HTML does not allow, halves of characters that UTF-8 cannot encode, and marks that turn the direction of
# all text after them.
_UNSAFE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MOST_CHARACTERS, _MOST_OF_LABEL = 600, 120


def clean(text: str) -> str:
    """Return a text with a mark in place of each character that must not stand in a page."""
    return _UNSAFE.sub(_REPLACEMENT, text)


def shortened(text: str, most: int = _MOST_CHARACTERS) -> str:
    """Return a text on one line, and an ellipsis in place of what is beyond ``most`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def shown_text(text: object) -> str:
    """Return a text, or a pair of texts, on one line."""
    parts = text if isinstance(text, tuple | list) else (text,)
    return shortened(" | ".join(map(str, parts))) or "(empty)"


def label_text(value: object, most: int = _MOST_OF_LABEL) -> str:
    """Return a label, or several, on one line; each is cut after ``most`` characters."""
    parts = value if isinstance(value, tuple | list) else (value,)
    return shortened(" | ".join(shortened(_cell(part), most) for part in parts)) or "(none)"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
