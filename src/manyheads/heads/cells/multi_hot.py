"""Multi-hot cells: lists with a zero or a one for each label."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.runtime.lists import is_list, list_items


def multi_hot_width(cells: Sequence[object]) -> int | None:
    """Return the number of labels of a column of multi-hot lists, or ``None`` for other cells.

    All lists have one length of at least two and contain only zeros and ones, and one of them contains a value twice,
    as no list of different labels does.

    Args:
        cells: The cells that are not missing.
    """
    width = bits_width(cells)
    repeated = width is not None and any(len(set(list_items(cell))) < width for cell in cells)
    return width if repeated else None


def bits_width(cells: Sequence[object]) -> int | None:
    """Return the one length, of at least two, of lists that contain only zeros and ones; ``None`` for other cells."""
    rows = [list_items(cell) for cell in cells if is_list(cell)]
    widths = {len(row) for row in rows}
    if len(rows) < len(cells) or len(widths) != 1 or min(widths) < 2:
        return None
    if not all(_is_bit(value) for row in rows for value in row):
        return None
    return widths.pop()


def _is_bit(value: object) -> bool:
    return isinstance(value, bool | int | float) and value in (0, 1)
