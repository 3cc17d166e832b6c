"""The text columns of a command that reads a table with a saved model."""

from __future__ import annotations

import json
from collections.abc import Sequence

from manyheads.errors import DataError
from manyheads.model import HeadedModel


def text_columns(given: Sequence[str] | None, model: HeadedModel, data: str) -> str | tuple[str, ...]:
    """Return the text columns of the options, or else those that the heads were trained on.

    Args:
        given: The option's columns.
        model: The model.
        data: The table's name, for messages.

    Raises:
        DataError: the model does not record one.
    """
    if given:
        return given[0] if len(given) == 1 else tuple(given)
    known = {json.dumps(head.summary["text"]) for head in model.heads.values() if "text" in head.summary}
    if len(known) != 1:
        raise DataError(f"{data}: the model does not record which column contains the text; name it with --text")
    columns: str | list[str] = json.loads(known.pop())
    return columns if isinstance(columns, str) else tuple(columns)
