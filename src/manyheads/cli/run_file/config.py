"""A run of ``manyheads train`` as a TOML file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import tomli_w

from manyheads.cli.run_file.fields import check_keys, checked, plain_fields, takes_path
from manyheads.cli.run_file.heads import read_head
from manyheads.cli.run_file.methods import method_keys, read_method
from manyheads.errors import ConfigError, one_line
from manyheads.training.methods import DEFAULT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# The run file inside a saved model.
CONFIG = "run.toml"


@dataclass(frozen=True)
class Run:
    """The top-level keys of a run file; they have the names of the command-line options."""

    data: str
    backbone: str
    text: str | Sequence[str]
    out: str
    eval: str | None = None
    eval_fraction: float = 0.1
    max_length: int | None = None
    long_text: str = "truncate"
    seed: int = 0
    overwrite: bool = False
    format: str = "csv"
    add_words: str | None = None
    trust_remote_code: bool = False
    weight: str | None = None


@dataclass(frozen=True)
class PartialRun:
    """The settings of a run from a file or from options; missing ones have their defaults.

    Attributes:
        run: As ``Run``.
        method: Its name and its own settings.
        heads: Head name -> its settings.
    """

    run: Mapping[str, Any]
    method: Mapping[str, Any]
    heads: Mapping[str, Mapping[str, Any]]


_NOTHING: Mapping[str, Any] = {}
_PATHS = ("data", "out", "eval", "add_words")
_TABLES = {"method": Mapping[str, object], "heads": Mapping[str, object]}
# Rules beyond a value's type, with their wording for messages.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (lambda text: isinstance(text, str) or len(text) == 2, "a column's name, or a list of two"),
    "eval_fraction": (lambda fraction: 0 <= fraction < 1, "at least 0 and below 1"),
    "max_length": (lambda length: length is None or length > 0, "positive"),
    "long_text": (lambda word: word in ("truncate", "error"), "'truncate' or 'error'"),
    "seed": (lambda seed: 0 <= seed < 2**32, "at least 0 and below 2**32"),
}


def read_config(path: Path) -> PartialRun:
    """Read and check a run file; relative paths are resolved from its folder.

    Raises:
        ConfigError: no such file, invalid TOML, an unknown key, or a value of a wrong type or out of range.
    """
    tables = _parsed(path)
    known = plain_fields(Run)
    check_keys(str(path), tables, {**known, **_TABLES})
    run = checked(str(path), {key: value for key, value in tables.items() if key in known}, known)
    check_run({f"{path}: {key}": (key, value) for key, value in run.items()})
    method = _table(f"{path}, [method]", tables.get("method", _NOTHING))
    heads = _table(f"{path}, [heads]", tables.get("heads", _NOTHING))
    return PartialRun(
        _run_from(path, run), _method_from(path, method), {name: _head_from(path, name, heads[name]) for name in heads}
    )


def check_run(values: Mapping[str, tuple[str, Any]]) -> None:
    """Check that values are in their ranges.

    Args:
        values: Name of a value in messages -> its key and the value.

    Raises:
        ConfigError: a value out of range.
    """
    for called, (key, value) in values.items():
        if key in _RULES and not _RULES[key][0](value):
            raise ConfigError(f"{called} must be {_RULES[key][1]}, got {value!r:.60}")


def merged(file: PartialRun, options: PartialRun) -> PartialRun:
    """Combine the file with the options, which take precedence.

    If the options name another method, the file's method settings are dropped. If the options name heads, only these
    are trained, each with its table in the file if there is one.
    """
    other = "name" in options.method and options.method["name"] != file.method.get("name", DEFAULT)
    method = {**(_NOTHING if other else file.method), **options.method}
    heads = {name: {**file.heads.get(name, _NOTHING), **settings} for name, settings in options.heads.items()}
    return PartialRun({**file.run, **options.run}, method, heads or file.heads)


def whole_run(settings: PartialRun, path: Path | None) -> Run:
    """Return the whole run, defaults included.

    Args:
        settings: The combined settings.
        path: The configuration file, if there is one, for messages.

    Raises:
        ConfigError: a setting without a default is missing; the message names its option and its key.
    """
    needed = [item.name for item in fields(Run) if item.default is MISSING]
    options = {"data": "DATA", **{key: f"--{key}" for key in needed if key != "data"}}
    lacking = [f"{options[key]} (key {key!r})" for key in needed if key not in settings.run]
    if not settings.heads:
        lacking.append("--head (a table [heads.NAME])")
    if lacking:
        where = f"the keys in {path}" if path is not None else "the keys in a file for --config"
        raise ConfigError(f"train needs {', '.join(lacking)}; give it on the command line, or write {where}")
    return Run(**settings.run)


def write_config(run: Run, method: Mapping[str, Any], heads: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a run file that repeats a run from any folder.

    Input paths are absolute. The output folder and ``overwrite`` are left out.

    Raises:
        ConfigError: a path that is not UTF-8.
    """
    settings = {key: value for key, value in asdict(run).items() if key not in ("out", "overwrite")}
    settings["data"] = _absolute(run.data)
    for key in ("eval", "add_words"):
        settings[key] = None if settings[key] is None else _absolute(settings[key])
    settings["backbone"] = _absolute(run.backbone) if Path(run.backbone).expanduser().is_dir() else run.backbone
    top = {
        key: list(value) if isinstance(value, tuple) else value for key, value in settings.items() if value is not None
    }
    text = tomli_w.dumps({**top, "method": method, "heads": heads})
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(
            f"A path or name of this run is not UTF-8 text, so it cannot be saved in {CONFIG}: {text!r:.200}"
        ) from None
    return text


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path of --config") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text ({one_line(error)}); save it as UTF-8") from None
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML: {one_line(error)}; correct it there") from None


def _table(place: str, table: object) -> Mapping[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{place} must be a table, got {table!r:.60}")
    return table


def _run_from(path: Path, run: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: _beside(path, value) if key in _PATHS else value for key, value in run.items()}
    if "backbone" in run:
        found["backbone"] = _backbone_from(path, run["backbone"])
    return found


def _backbone_from(path: Path, name: str) -> str:
    """Return a folder relative to the file's, or a hub id unchanged."""
    beside = _beside(path, name)
    written_as_path = name.startswith((".", "~")) or os.path.isabs(name)
    if written_as_path or Path(beside).is_dir():
        return beside
    if Path(name).is_dir():
        # It would be loaded from wherever the command happens to run.
        raise ConfigError(
            f"{path}: backbone {name!r} is a folder of the working folder, not of the file's own, from where paths are "
            f"read; write {os.path.abspath(name)!r}"
        )
    return name


def _method_from(path: Path, table: Mapping[str, object]) -> dict[str, Any]:
    place = f"{path}, [method]"
    _check_top_keys(place, table, method_keys(f"{place}: name", table.get("name", DEFAULT)))
    settings = read_method(place, table)
    hints = method_keys(place, settings.get("name", DEFAULT))
    return {
        # "auto" is not a path.
        key: _beside(path, value) if takes_path(hints[key]) and isinstance(value, str) and value != "auto" else value
        for key, value in settings.items()
    }


def _head_from(path: Path, name: str, table: object) -> dict[str, Any]:
    place = f"{path}, [heads.{name}]"
    settings = _table(place, table)
    _check_top_keys(place, settings, {})
    return read_head(place, settings)


def _check_top_keys(place: str, table: Mapping[str, object], own: Mapping[str, Any]) -> None:
    """Raise if a top-level key follows a table's heading, since TOML then reads it as a key of that table."""
    for key in table:
        if key in plain_fields(Run) and key not in own:
            raise ConfigError(
                f"{place}: unknown key {key!r}; it belongs to the top of the file, above the first [table]; move it "
                "there"
            )


def _beside(path: Path, place: str) -> str:
    """Resolve a path from the file's folder; ``-`` is standard input."""
    return place if place == "-" else os.path.join(os.path.abspath(path.parent), os.path.expanduser(place))


def _absolute(place: str) -> str:
    """Return an absolute path with links resolved, since a link may change before the next run."""
    return place if place == "-" else os.path.realpath(os.path.expanduser(place))
