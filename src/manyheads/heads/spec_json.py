"""Head specs as plain JSON objects, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from manyheads.errors import CorruptCheckpointError, HeadError, listed
from manyheads.heads.base import HeadSpec
from manyheads.heads.kinds import KINDS


def write_spec(spec: HeadSpec) -> dict[str, object]:
    """Return a spec as a plain JSON object; labels keep their type."""
    record: dict[str, object] = {"kind": spec.kind}
    for item in fields(spec):
        value = getattr(spec, item.name)
        record[item.name] = list(value) if isinstance(value, tuple) else value
    if isinstance(spec.reads, str):
        return record
    from manyheads.taps import Tap, write_tap

    reads = spec.reads
    record["reads"] = write_tap(reads) if isinstance(reads, Tap) else [write_tap(tap) for tap in reads]
    return record


def read_spec(record: Mapping[str, object]) -> HeadSpec:
    """Build a spec from ``write_spec``'s object.

    Raises:
        CorruptCheckpointError: an unknown kind, fields that the kind does not have, or values out of range.
    """
    kind = record.get("kind")
    found = KINDS.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise CorruptCheckpointError(f"head kind {kind!r} is not among the known ones: {listed(KINDS)}")
    known = {item.name for item in fields(found)}
    given: dict[str, Any] = {name: value for name, value in record.items() if name != "kind"}
    if set(given) != known:
        wrong = sorted(set(given) ^ known)
        raise CorruptCheckpointError(f"head kind {kind!r}: unknown or absent fields {listed(wrong)}")
    if isinstance(given["reads"], Mapping | list):
        given["reads"] = _read_taps(given["reads"])
    try:
        return found(**given)
    except (HeadError, TypeError, ValueError) as error:
        raise CorruptCheckpointError(f"head kind {kind!r}: {error}") from error


def _read_taps(reads: Mapping[str, object] | list[Mapping[str, object]]) -> Any:
    from manyheads.taps import read_tap

    return read_tap(reads) if isinstance(reads, Mapping) else tuple(read_tap(tap) for tap in reads)
