"""The training methods by the names that the command line and configuration files give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from manyheads.cli.run_file.fields import NONE, checked, plain_fields, takes_path
from manyheads.errors import ConfigError, MethodError, did_you_mean, listed
from manyheads.features import open_cache
from manyheads.training import Method
from manyheads.training.methods import DEFAULT, METHODS, method_class

# Folders that do not affect the result and differ between machines.
_OF_A_MACHINE = frozenset({"cache", "checkpoints"})


def method_keys(place: str, name: object) -> dict[str, Any]:
    """Return the keys that a method's table takes: name -> type.

    Args:
        place: The place that names the method, for messages.
        name: The method.

    Raises:
        ConfigError: no method of that name.
    """
    return {"name": str, **plain_fields(_class(place, name))}


def read_method(place: str, table: Mapping[str, object]) -> dict[str, Any]:
    """Check a ``[method]`` table, values included, and return it.

    Raises:
        ConfigError: an unknown method, a setting that it does not have, or one of a wrong type or out of its range.
    """
    name = table.get("name", DEFAULT)
    settings = checked(f"{place} ({name})", table, method_keys(f"{place}: name", name))
    try:
        _built(settings)
    except MethodError as error:
        owner = _class(place, name).__name__
        raise ConfigError(f"{place}: {str(error).removeprefix(f'{owner}: ')}") from None
    return settings


def read_options(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Check the options that set a method's own settings, for the method that is to use them.

    Raises:
        ConfigError: no such method, or an option of other methods; the message names them.
    """
    keys = method_keys("--method", name)
    for key in settings:
        if key not in keys:
            having = [other for other in METHODS if key in method_keys("--method", other)]
            raise ConfigError(
                f"--{key.replace('_', '-')} belongs to --method {' or '.join(having)}, not to {name!r}; leave it out, "
                "or choose that method"
            )
    return checked("--method", settings, keys)


def build_method(settings: Mapping[str, Any]) -> Method:
    """Return the method with these settings, after checking its cache.

    Raises:
        MethodError: a setting out of its range.
        CacheError: the cache is no folder.
    """
    method = _built(settings)
    open_cache(getattr(method, "cache", None))
    return method


def write_method(method: Method) -> dict[str, Any]:
    """Return a method's ``[method]`` table.

    A folder for features is left out; paths of tables are absolute.
    """
    name = next(name for name, (_, cls) in METHODS.items() if cls == type(method).__name__)
    table: dict[str, Any] = {"name": name}
    hints = plain_fields(type(method))
    for item in fields(method):  # type: ignore[arg-type]
        if item.name not in hints:
            continue
        value = getattr(method, item.name)
        value = float(value) if hints[item.name] is float else value  # as it is read again
        if item.name in _OF_A_MACHINE and value is not None and value != item.default:
            continue
        if takes_path(hints[item.name]) and isinstance(value, str | Path) and value != item.default:
            value = str(Path(value).resolve())
        if value is not None:
            table[item.name] = list(value) if isinstance(value, tuple) else value
        elif item.default is not None and item.default is not MISSING:
            table[item.name] = NONE
    return table


def _class(place: str, name: object) -> type[Any]:
    if not isinstance(name, str) or name not in METHODS:
        raise ConfigError(f"{place} must be one of {listed(METHODS)}, got {name!r:.60}{did_you_mean(name, METHODS)}")
    return method_class(name)


def _built(settings: Mapping[str, Any]) -> Method:
    arguments = {key: value for key, value in settings.items() if key != "name"}
    method: Method = _class("--method", settings.get("name", DEFAULT))(**arguments)
    return method
