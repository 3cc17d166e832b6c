"""The columns of a table that contain the texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from manyheads.errors import DataError
from manyheads.heads import Head


def text_columns(given: Sequence[str] | None, heads: Iterable[Head], data: str) -> str | tuple[str, ...]:
    """Return the text columns that are given, or else those that the heads were trained on.

    Args:
        given: One column, or two for pairs; ``None`` or none for those of training.
        heads: The heads.
        data: The table's name, for messages.

    Raises:
        DataError: neither names one.
    """
    if given:
        return given[0] if len(given) == 1 else tuple(given)
    known = {json.dumps(head.summary["text"]) for head in heads if "text" in head.summary}
    if len(known) != 1:
        raise DataError(
            f"{data}: the model does not record which column contains the text; name it with text= (--text)"
        )
    columns: str | list[str] = json.loads(known.pop())
    return columns if isinstance(columns, str) else tuple(columns)


def list_text_columns(given: str | Sequence[str] | None, heads: Iterable[Head], data: str) -> list[str]:
    """Return what ``text_columns`` returns as a list of one or two names; ``given`` may be the name of one column."""
    columns = text_columns([given] if isinstance(given, str) else given, heads, data)
    return [columns] if isinstance(columns, str) else list(columns)
