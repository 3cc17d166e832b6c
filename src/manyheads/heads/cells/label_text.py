"""The text of a label: spellings that look alike are one label."""

from __future__ import annotations

import re
import unicodedata

# A zero-width space, a byte-order mark, a soft hyphen and a word joiner; joiners inside emoji and words stay.
_INVISIBLE = re.compile("[\u200b\ufeff\u00ad\u2060]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def canonical(text: str) -> str:
    """Return a label's text in Unicode form NFC, with single spaces and without invisible characters.

    Examples:
        >>> from manyheads.heads.cells.label_text import canonical
        >>> canonical("full \u00a0time\u200b")
        'full time'
    """
    return " ".join(unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).split())


def number_of(text: str) -> float | None:
    """Return the number that a text is, or ``None``: ``"1.0"`` and ``"1"`` are one label."""
    return float(text) if _NUMBER.fullmatch(text) else None
