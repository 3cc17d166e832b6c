"""Content of requests: text, or JSON objects and arrays that are read as text."""

from __future__ import annotations

import json
from typing import Any

Content = str | dict[str, Any] | list[Any]


def text_of(content: object) -> str:
    """Return a string as it is, ``None`` as an empty one, and anything else as compact JSON.

    Raises:
        ValueError: a NaN, an infinity, or a whole number with thousands of digits.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
