"""Check plain settings, as a TOML file holds them, against the fields of a dataclass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from manyheads.errors import ConfigError, did_you_mean, listed
from manyheads.taps import Tap

# Stands for None, since TOML has no null.
NONE = "none"

_ONE = {
    str: "a string",
    Path: "a path",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    object: "a string, a number or true or false",
}
_MANY = {str: " of strings", int: " of whole numbers", float: " of numbers", object: ""}


def plain_fields(cls: type[Any]) -> dict[str, Any]:
    """Return the fields of a dataclass that a plain value can fill, in order: name -> type."""
    hints = get_type_hints(cls, localns={"Tap": Tap})  # which specs name, but import when they read only
    return {item.name: hints[item.name] for item in fields(cls) if item.init and _described(hints[item.name])}


def checked(place: str, table: Mapping[str, object], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's values, each of the type that its key takes.

    Args:
        place: The table's place, for messages.
        table: Key -> value, as TOML gives it.
        known: Key -> type, as ``plain_fields`` gives it.

    Raises:
        ConfigError: an unknown key, or a value of another type.
    """
    check_keys(place, table, known)
    return {key: _converted(place, key, value, known[key]) for key, value in table.items()}


def check_keys(place: str, table: Mapping[str, object], known: Mapping[str, Any]) -> None:
    """Check that all keys of a table are known.

    Raises:
        ConfigError: an unknown key; the message names the nearest known one.
    """
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{place}: unknown key {key!r}{did_you_mean(key, known)} Its keys: {listed(known, most=30)}"
            )


def takes_path(hint: Any) -> bool:
    """Return whether a field of this type may contain a path."""
    return Path in _parts(hint)


def _converted(place: str, key: str, value: object, hint: Any) -> Any:
    parts = _parts(hint)
    # In a string field "none" is None; write a path of that name as "./none".
    if value == NONE and NoneType in parts and (str not in parts or Path in parts):
        return None
    if not any(_fits(value, part) for part in parts):
        raise ConfigError(f"{place}: {key} must be {_described(hint)}, got {value!r:.60}")
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and float in parts and int not in parts else value  # type: ignore[arg-type]


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the types that a union allows."""
    return get_args(hint) if isinstance(hint, UnionType) or get_origin(hint) is Union else (hint,)


def _described(hint: Any) -> str:
    """Return what a type is in TOML; empty if nothing there can be of it."""
    return " or ".join(dict.fromkeys(filter(None, (_described_part(part) for part in _parts(hint)))))


def _described_part(part: Any) -> str:
    if part in _ONE:
        return _ONE[part]
    items = get_args(part)
    if get_origin(part) in (Sequence, list, tuple) and items[0] in _MANY:
        return f"a list{_MANY[items[0]]}"
    if get_origin(part) in (Mapping, dict):
        return f"a table{_MANY[items[1]]}" if items[1] in _MANY else f"a table, each value {_described(items[1])}"
    return ""


def _fits(value: object, part: Any) -> bool:
    if part in (str, Path):
        return isinstance(value, str)
    if part is bool:
        return isinstance(value, bool)
    if part is int:
        return _is_whole(value)
    if part is float:
        return isinstance(value, float) or _is_whole(value)
    if part is object:
        return isinstance(value, str | float | bool) or _is_whole(value)
    if get_origin(part) in (Sequence, list, tuple):
        return isinstance(value, list) and all(_fits(item, get_args(part)[0]) for item in value)
    if get_origin(part) in (Mapping, dict):
        return isinstance(value, dict) and all(
            any(_fits(item, kind) for kind in _parts(get_args(part)[1])) for item in value.values()
        )
    return False


def _is_whole(value: object) -> bool:
    # TOML promises 64 bits; a longer number has no float.
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
