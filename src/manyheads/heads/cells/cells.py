"""The content of a label cell: missing, one value, or several labels."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence

import numpy as np

from manyheads.runtime.nulls import is_null

_NUMPY_GAP = re.compile(r"""(['"])\s+(['"])""")


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


def is_list(cell: object) -> bool:
    """Return whether a cell is a list of scalars, or the text of one in JSON or Python."""
    if isinstance(cell, np.ndarray):
        return True
    if isinstance(cell, Sequence) and not isinstance(cell, str):
        return True
    return isinstance(cell, str) and _parsed_list(cell) is not None


def list_items(cell: object) -> list[object]:
    """Return the items of a cell for which ``is_list`` is true."""
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    items = _parsed_list(cell) if isinstance(cell, str) else cell
    assert isinstance(items, Sequence)
    return [plain(item) for item in items]


def _parsed_list(text: str) -> list[object] | None:
    """Return the list of scalars that a text is in JSON, in Python (as pandas writes it) or as numpy prints it."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    found = _loaded(text)
    scalars = isinstance(found, list) and not any(isinstance(item, dict | list | tuple | set) for item in found)
    return found if scalars else None  # type: ignore[return-value]


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        pass
    # Python joins strings without a comma between them, but numpy prints its arrays so.
    text = _NUMPY_GAP.sub(r"\1, \2", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def plain(value: object) -> object:
    """Return a numpy or pandas scalar as a Python value."""
    return value.item() if isinstance(value, np.generic) else value
