"""Heads as flat tables of plain settings: ``[heads.NAME]`` in a configuration file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from manyheads.cli.run_file.fields import checked, plain_fields
from manyheads.errors import ConfigError, HeadError, did_you_mean, listed
from manyheads.heads import KINDS, HeadSpec, LabelledSpec, MultiLabel, Tokens
from manyheads.taps import Hidden, LMLogits, Output, Tap

# The taps that `reads` may name; a tap's other keys are keys of the head's table.
TAPS: dict[str, type[Tap]] = {tap.kind: tap for tap in (Hidden, LMLogits)}
_AUTO = "auto"
# Key for a head to read besides the tap.
OUTPUT = "output"

# Placeholder labels to check the other settings before the column is read.
_SOME_LABELS = ("a", "b")


def head_keys(kind: str | None) -> dict[str, Any]:
    """Return the keys of a kind's table, or of all kinds if the kind is to be inferred: name -> type."""
    specs = [KINDS[kind]] if kind is not None else list(KINDS.values())
    own = {key: hint for spec in specs for key, hint in plain_fields(spec).items() if key != "reads"}
    return {"kind": str, **own, "reads": str, **_tap_keys(), OUTPUT: str}


def _tap_keys() -> dict[str, Any]:
    return {key: hint for tap in TAPS.values() for key, hint in plain_fields(tap).items()}


def read_head(place: str, table: Mapping[str, object]) -> dict[str, Any]:
    """Check a head's table, values included, and return it.

    Raises:
        ConfigError: an unknown kind or key, or a value of a wrong type or out of range.
    """
    kind = table.get("kind")
    if kind is not None and not (isinstance(kind, str) and kind in KINDS):
        raise ConfigError(f"{place}: kind must be one of {listed(KINDS)}, got {kind!r:.60}{did_you_mean(kind, KINDS)}")
    settings = checked(place if kind is None else f"{place} ({kind})", table, head_keys(kind))
    cls = MultiLabel if kind is None else KINDS[kind]
    if not cls.labels_from_column and "labels" not in settings:
        raise ConfigError(
            f"{place}: an ordinal head needs its labels, from the lowest to the highest: no column tells their order; "
            'write labels = ["low", "high"]'
        )
    try:
        cls(**_arguments(cls, _with_some_labels(cls, settings)))
    except HeadError as error:
        raise ConfigError(f"{place}: {str(error).removeprefix(f'{cls.__name__}: ')}") from None
    return settings


def asks_column(settings: Mapping[str, Any]) -> bool:
    """Return whether a head's kind or labels are to be inferred from its column."""
    return "kind" not in settings or ("labels" in head_keys(settings["kind"]) and "labels" not in settings)


def build_head(name: str, settings: Mapping[str, Any], inferred: HeadSpec | None) -> HeadSpec:
    """Return a head's spec.

    Args:
        name: The head's name.
        settings: Its table.
        inferred: The spec inferred from its column, if ``asks_column``.

    Raises:
        HeadError: settings that the kind does not have, or that contradict each other or the column.
    """
    kind = settings["kind"] if inferred is None else settings.get("kind", inferred.kind)
    for key in settings:
        if key not in head_keys(kind):
            raise HeadError(
                f"Head {name!r}: its column asks for a {kind} head, which takes no {key}; leave that out, or write "
                "its kind"
            )
    if inferred is not None and "labels" in head_keys(kind) and "labels" not in settings:
        settings = {**settings, "labels": _labels(name, kind, settings, inferred)}
    column = settings.get("column")
    arguments = _arguments(KINDS[kind], {**settings, "column": None if column == name else column})
    try:
        return KINDS[kind](**arguments)
    except HeadError as error:
        raise HeadError(f"Head {name!r}: {error}") from None


def write_head(spec: HeadSpec) -> dict[str, Any]:
    """Return the table from which ``build_head`` builds this spec."""
    table: dict[str, Any] = {"kind": spec.kind}
    for key in plain_fields(type(spec)):
        value = getattr(spec, key)
        if key == "label_words" and value is not None:
            table[key] = {
                str(label): list(words) for label, words in zip(_labels_of(spec), value, strict=True) if words
            }
        elif key != "reads" and value is not None:
            table[key] = list(value) if isinstance(value, tuple) else value
    tap, output = _reads(spec)
    reads = {} if tap is None else _write_tap(tap)
    return {**table, **reads, **({} if output is None else {OUTPUT: output.head})}


def _write_tap(tap: Tap) -> dict[str, Any]:
    settings = {key: value for key, value in dataclasses.asdict(tap).items() if value is not None}
    return {"reads": tap.kind, **settings}


def check_kept(name: str, spec: HeadSpec, settings: Mapping[str, Any]) -> None:
    """Check that the settings of an existing head equal its own, since an existing head is trained as it is.

    Raises:
        HeadError: names the settings.
    """
    wrong = [key for key in settings if not _agrees(name, spec, key, settings)]
    if wrong:
        raise HeadError(
            f"Head {name!r}: the model has it already, and trains it as it is, with another {' and '.join(wrong)}; "
            "leave that out, or give the new head another name"
        )


def _agrees(name: str, spec: HeadSpec, key: str, settings: Mapping[str, Any]) -> bool:
    """Return whether a spec agrees with one key of the settings."""
    if key == "kind":
        return bool(spec.kind == settings[key])
    if key == "column":
        return bool((spec.column or name) == settings[key])
    if key not in head_keys(spec.kind):
        return False
    tap, output = _reads(spec)
    if key == OUTPUT:
        return output is not None and output.head == settings[key]
    if key == "reads":
        return bool((spec.reads if tap is None else tap.kind) == settings[key])
    if key in _tap_keys():
        return tap is not None and getattr(tap, key, None) == settings[key]
    labels = {"labels": _labels_of(spec)} if spec.has_labels else {}
    arguments = _arguments(type(spec), {**labels, key: settings[key]})
    return bool(getattr(dataclasses.replace(spec, **arguments), key) == getattr(spec, key))


def _reads(spec: HeadSpec) -> tuple[Tap | None, Output | None]:
    """Return the tap and the other head that a spec reads, as far as a table's keys can express them."""
    match spec.reads:
        case Hidden() | LMLogits():
            return spec.reads, None
        case (Hidden() | LMLogits() as tap, Output() as output):
            return tap, output
    return None, None


def _labels(name: str, kind: str, settings: Mapping[str, Any], inferred: HeadSpec) -> Sequence[object]:
    # In a column, one label per word looks like any list of labels; scheme="plain" tells them apart.
    lists = kind == Tokens.kind and settings.get("scheme") == "plain" and inferred.kind == MultiLabel.kind
    if not inferred.has_labels or (inferred.kind != kind and not lists):
        raise HeadError(
            f"Head {name!r}: its column asks for a {inferred.kind} head; for a {kind} one, write its labels, or name "
            "another column"
        )
    return _labels_of(inferred)


def _labels_of(spec: HeadSpec) -> Sequence[object]:
    return cast(LabelledSpec, spec).labels


def _with_some_labels(cls: type[HeadSpec], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings from which a head can be built before its column is read."""
    if "labels" in settings or "labels" not in plain_fields(cls):
        return dict(settings)
    weights = settings.get("class_weights")
    known = {key: value for key, value in settings.items() if key != "label_words"}
    return {**known, "labels": _SOME_LABELS, "class_weights": weights if isinstance(weights, str) else None}


def _arguments(cls: type[HeadSpec], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a spec."""
    arguments = {key: value for key, value in settings.items() if key in plain_fields(cls)}
    reads = _read(cls, settings)
    if reads is not None:
        arguments["reads"] = reads
    # TOML's keys are strings; labels may be other types.
    by_text = {str(label): label for label in arguments.get("labels", ())}
    for key in ("class_weights", "label_words"):
        if isinstance(arguments.get(key), Mapping):
            arguments[key] = {by_text.get(text, text): value for text, value in arguments[key].items()}
    return arguments


def _read(cls: type[HeadSpec], settings: Mapping[str, Any]) -> Tap | str | tuple[Tap, Output] | None:
    """Return the ``reads`` of a head's keys, or ``None`` without any."""
    tap = _tap(cls, settings)
    if OUTPUT not in settings:
        return tap
    if isinstance(tap, str):
        raise HeadError(f"{cls.__name__}: reads={tap!r} searches alone; beside {OUTPUT}, name one of {listed(TAPS)}")
    return (Hidden() if tap is None else tap, Output(settings[OUTPUT]))


def _tap(cls: type[HeadSpec], settings: Mapping[str, Any]) -> Tap | str | None:
    """Return the tap of a head's keys, ``"auto"``, or ``None`` without any."""
    keys = {key: settings[key] for key in settings if key in _tap_keys()}
    fitting = next((kind for kind, tap in TAPS.items() if keys.keys() <= plain_fields(tap).keys()), Hidden.kind)
    name: str | None = settings.get("reads", fitting if keys else None)
    if name is None or (name == _AUTO and not keys):
        return name
    known = [_AUTO, *TAPS]
    foreign = [key for key in keys if name not in TAPS or key not in plain_fields(TAPS[name])]
    if name not in TAPS or foreign:
        wrong = f", which takes no {listed(foreign)}" if name in known else did_you_mean(name, known)
        raise HeadError(f"{cls.__name__}: reads must be one of {listed(known)}, got {name!r}{wrong}")
    return TAPS[name](**keys)
