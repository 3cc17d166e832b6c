"""The content of a label cell: missing, one value, or several labels."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from manyheads.runtime.nulls import is_null


def is_missing(cell: object) -> bool:
    """Return whether a label cell is missing: ``None``, NaN, NaT, pandas' NA, or an empty string.

    An empty list is not missing: for a multi-label head it means "none of the labels".
    """
    return not cell.strip() if isinstance(cell, str) else is_null(cell)


def split_labels(cell: object) -> list[object]:
    """Return the labels of one multi-label cell: a list, a JSON list, or ``a|b``; empty parts are dropped."""
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    if isinstance(cell, Sequence) and not isinstance(cell, str):
        return [plain(item) for item in cell]
    if not isinstance(cell, str):
        return [plain(cell)]
    if is_json_list(cell):
        return list(json.loads(cell))
    return [part.strip() for part in cell.split("|") if part.strip()]


def is_json_list(cell: object) -> bool:
    """Return whether a cell is a string with a JSON list of scalars."""
    if not isinstance(cell, str) or not cell.lstrip().startswith("["):
        return False
    try:
        value = json.loads(cell)
    except ValueError:
        return False
    return isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)


def plain(value: object) -> object:
    """Return a numpy or pandas scalar as a Python value."""
    return value.item() if isinstance(value, np.generic) else value
