"""Numbers in label cells, with a decimal point or a decimal comma."""

from __future__ import annotations

import re
from collections.abc import Sequence

_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
# May be one thousand and something, or one and something.
_EITHER = re.compile(r"[+-]?\d{1,3},\d{3}", re.ASCII)


def has_decimal_commas(texts: Sequence[str]) -> bool:
    """Return whether all texts are numbers, and some have a decimal comma that cannot separate thousands."""
    commas = [text for text in texts if _COMMA.fullmatch(text.strip())]
    whole = [text for text in texts if _WHOLE.fullmatch(text.strip())]
    return len(commas) + len(whole) == len(texts) and any(not _EITHER.fullmatch(text.strip()) for text in commas)


def ambiguous_comma(texts: Sequence[str]) -> str | None:
    """Return a text in which the comma may separate thousands or decimals, if all texts are numbers so."""
    stripped = [text.strip() for text in texts]
    if not all(_COMMA.fullmatch(text) or _WHOLE.fullmatch(text) for text in stripped) or has_decimal_commas(texts):
        return None
    return next((text for text in stripped if _EITHER.fullmatch(text)), None)


def with_points(cells: Sequence[object]) -> list[object]:
    """Return cells with decimal points for decimal commas, where the column has decimal commas."""
    texts = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
    if not texts or not has_decimal_commas(texts):
        return list(cells)
    return [cell.replace(",", ".") if isinstance(cell, str) else cell for cell in cells]
