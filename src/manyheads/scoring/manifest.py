"""What a folder of scored parts was made with, so that only the same run goes on with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from manyheads.errors import WrongManifestError
from manyheads.runtime.files import atomic_write
from manyheads.scoring.plan import Part, parts_of

_PROTOCOL = 1
# The most differences that a message names.
_SHOWN = 3


@dataclass(frozen=True)
class Input:
    """One file of the source.

    Attributes:
        name: Its path or URL.
        identity: Changes when the file changes.
        rows: Number of rows; 0 if it cannot be read.
        part_rows: Rows of each part.
        reading: How it is read, from its survey.
        failure: Why it cannot be read, or ``None``.
    """

    name: str
    identity: str
    rows: int = 0
    part_rows: int = 1
    reading: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What scored parts were made with.

    Attributes:
        model: See ``scoring.fingerprint``; empty where no part outlives its run.
        settings: All that answers depend on besides the model and the texts.
        machine: What their last bits depend on besides.
        schema: Names and types of the input's columns.
        inputs: The files, in order.
    """

    model: Mapping[str, Any]
    settings: Mapping[str, Any]
    machine: Mapping[str, Any]
    schema: pa.Schema
    inputs: Sequence[Input]

    @property
    def parts(self) -> list[Part]:
        """All parts, in the order of the rows."""
        found = (parts_of(number, one.rows, one.part_rows) for number, one in enumerate(self.inputs))
        return [part for parts in found for part in parts]

    @property
    def rows(self) -> int:
        """The rows of all files."""
        return sum(one.rows for one in self.inputs)

    def write(self, path: Path) -> None:
        """Write it to a file, atomically."""
        columns = {name: str(type_) for name, type_ in zip(self.schema.names, self.schema.types, strict=True)}
        content = {
            "protocol": _PROTOCOL,
            "model": self.model,
            "settings": self.settings,
            "machine": self.machine,
            "columns": columns,
            "schema": base64.b64encode(self.schema.serialize()).decode(),
            "inputs": [asdict(one) for one in self.inputs],
        }
        atomic_write(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read it from a file.

        Raises:
            WrongManifestError: the file is damaged, or of another version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["protocol"] != _PROTOCOL:
                raise ValueError(f"protocol {content['protocol']}, this version reads {_PROTOCOL}")
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(content["schema"])))
            inputs = [Input(**one) for one in content["inputs"]]
            return cls(content["model"], content["settings"], content["machine"], schema, inputs)
        except (ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise WrongManifestError(
                f"{path}: cannot be read ({error}); pass overwrite=True (--overwrite) to score the table anew"
            ) from None


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs between two mappings of plain JSON, for a message; ``""`` if nothing does."""
    found = list(_differences(before, json.loads(json.dumps(now)), ""))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _differences(before: Any, now: Any, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *(key for key in now if key not in before)]:
            inner = f"{place}.{key}" if place else key
            yield from _differences(before.get(key), now.get(key), inner)
    elif before != now:
        yield f"{place} is {_shown(now)}, was {_shown(before)}"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:12] + "..."
