"""The text between several labels of one cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from manyheads.heads.cells.cells import split_labels

# Separators, and the least share of the parts between them that must also occur in another cell: a comma or a slash
# often belongs to one label.
_SHARES = {"|": 0.5, "#": 0.5, ";": 0.5, "\n": 0.5, ",": 0.75, "/": 0.75}


def find_separator(texts: Sequence[str]) -> str | None:
    """Return the text that separates labels in some cells, or ``None``.

    Labels recombine: most parts also occur in another cell, alone or beside others. The parts of ``Nurse (m|w|d)``, of
    ``New York, NY`` or of one class name ``Law | EpochSampler`` in many rows do not.
    """
    return next((separator for separator in _SHARES if _separates(separator, set(texts))), None)


def seen_separator(texts: Sequence[str]) -> str | None:
    """Return a separator that occurs in cells and has some parts that occur in others too; for a remark."""
    for separator in _SHARES:
        recurring, parts = _recurring(separator, set(texts))
        if parts and recurring:
            return separator
    return None


def _separates(separator: str, cells: set[str]) -> bool:
    recurring, parts = _recurring(separator, cells)
    return bool(parts) and recurring >= _SHARES[separator] * parts


def _recurring(separator: str, cells: set[str]) -> tuple[int, int]:
    """Return how many parts of cells with this separator occur in several cells, and how many parts there are."""
    split = {cell: {str(part) for part in split_labels(cell, separator)} for cell in cells}
    parts = {part for cell, found in split.items() if separator in cell for part in found}
    if any(_open_bracket(part) for part in parts):
        return 0, 0
    counts = Counter(part for found in split.values() for part in found)
    return sum(counts[part] > 1 for part in parts), len(parts)


def _open_bracket(part: str) -> bool:
    return any(part.count(left) != part.count(right) for left, right in ("()", "[]", "{}"))
