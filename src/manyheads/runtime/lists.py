"""Lists of scalars, also as texts: JSON, or what Python, pandas and numpy print."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence

import numpy as np

_NUMPY_GAP = re.compile(r"""(['"])\s+(['"])""")


def plain(value: object) -> object:
    """Return a numpy or pandas scalar as a Python value."""
    return value.item() if isinstance(value, np.generic) else value


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
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    found = loaded(text)
    scalars = isinstance(found, list) and not any(isinstance(item, dict | list | tuple | set) for item in found)
    return found if scalars else None  # type: ignore[return-value]


def loaded(text: str) -> object:
    """Return the value that a text is in JSON, or in Python, pandas or numpy as they print it; else ``None``."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    # Python joins strings without a comma between them, but numpy prints its arrays so.
    text = _NUMPY_GAP.sub(r"\1, \2", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
