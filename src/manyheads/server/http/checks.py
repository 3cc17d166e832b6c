"""Checks of the texts of a request, before anything is tokenized."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts, read_texts_from_list
from manyheads.errors import TextError, listed
from manyheads.server.http.errors import Location, invalid
from manyheads.server.settings import ServerSettings


def read_texts(items: Sequence[object], settings: ServerSettings, location: Location) -> Texts:
    """Return texts, pairs or lists of words as ``Texts``.

    Raises:
        InvalidBodyError: too many, too long, or not all of one form.
    """
    if len(items) > settings.max_texts:
        raise invalid(location, f"has {len(items):,} texts, at most {settings.max_texts:,} are allowed", "too_long")
    for row, item in enumerate(items):
        characters = _characters(item)
        if characters > settings.max_characters:
            message = f"has {characters:,} characters, at most {settings.max_characters:,} are allowed"
            raise invalid([*location, row], message, "string_too_long")
    try:
        return read_texts_from_list(items)
    except TextError as error:
        raise invalid(location, str(error), "text_error") from None


def check_heads(core: HeadedCore, names: Sequence[str] | None, location: Location) -> tuple[str, ...] | None:
    """Return the names of heads.

    Raises:
        InvalidBodyError: there is no such head, or none at all.
    """
    for place, name in enumerate(names or ()):
        if name not in core.heads:
            raise invalid([*location, place], f"is no head; the heads are {listed(core.heads)}", "unknown_head")
    if not core.heads or (names is not None and not names):
        raise invalid(location, "names no head" if core.heads else "this model has no heads", "no_head")
    return None if names is None else tuple(dict.fromkeys(names))


def _characters(item: object) -> int:
    """Return the characters of a text, of both texts of a pair, or of words with the spaces between them."""
    if isinstance(item, str):
        return len(item)
    return sum(len(part) + 1 for part in item if isinstance(part, str)) if isinstance(item, list | tuple) else 0
