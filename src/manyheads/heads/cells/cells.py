"""The content of a label cell: missing, one value, or several labels."""

from __future__ import annotations

from manyheads.runtime.lists import is_list, list_items, plain
from manyheads.runtime.nulls import is_null


def is_missing(cell: object) -> bool:
    """Return whether a label cell is missing: ``None``, NaN, NaT, pandas' NA, or an empty string.

    An empty list is not missing: for a multi-label head it means "none of the labels".
    """
    return not cell.strip() if isinstance(cell, str) else is_null(cell)


def split_labels(cell: object, separator: str = "|") -> list[object]:
    """Return the labels of one multi-label cell; empty parts are dropped.

    Args:
        cell: A list, the text of a list in JSON or Python, or labels with a separator between them.
        separator: The separator.
    """
    if is_list(cell):
        return list_items(cell)
    if not isinstance(cell, str):
        return [plain(cell)]
    return [part.strip() for part in cell.split(separator) if part.strip()]
