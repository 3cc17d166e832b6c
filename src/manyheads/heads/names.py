"""The names that heads may have."""

from __future__ import annotations

import unicodedata

from manyheads.errors import HeadNameError

RESERVED = frozenset({"lm"})


def check_name(name: object) -> None:
    """Check that a head may have this name.

    Raises:
        HeadNameError: not a string, empty, reserved, or with a dot, a slash, outer spaces or control characters.
    """
    if not isinstance(name, str) or not name:
        raise HeadNameError(f"A head's name must be a non-empty string, got {name!r}")
    if name in RESERVED:
        raise HeadNameError(f"Head name {name!r} is reserved for the language model; choose another name")
    if any(letter in "./\\" for letter in name):
        raise HeadNameError(f"Head name {name!r} must hold no dot and no slash, which part names in files; use '_'")
    if name != name.strip() or any(unicodedata.category(letter) == "Cc" for letter in name):
        raise HeadNameError(f"Head name {name!r} must not contain outer spaces or control characters")
