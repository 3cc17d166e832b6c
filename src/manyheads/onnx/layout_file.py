"""``predictor.json``: how a layout is written, and how it is parsed and audited before anything is opened.

No entry names a file outside the folder or an importable path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from manyheads._version import VERSION
from manyheads.errors import CorruptCheckpointError, ManyheadsError, NotACheckpointError, listed
from manyheads.heads import Decision, HeadSpec, read_spec, write_spec
from manyheads.heads.names import check_name
from manyheads.onnx.layout import PREDICTOR_JSON, PROTOCOL, ROW_GROUPS, HeadLayout, Layout
from manyheads.types import Template

Record = TypeVar("Record")


def write_layout(layout: Layout, folder: Path) -> None:
    """Write ``predictor.json``.

    Args:
        layout: What to write. The sizes of files are those in the folder now.
        folder: The folder.
    """
    sizes = {name: (folder / name).stat().st_size for name in layout.sizes}
    record = {
        "protocol": PROTOCOL,
        "manyheads": VERSION,
        **_own_fields(layout),
        "heads": {name: _head_record(head) for name, head in layout.heads.items()},
        "prompts": [asdict(prompt) for prompt in layout.prompts],
        "accepted": sorted(layout.accepted),
        "sizes": sizes,
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (folder / PREDICTOR_JSON).write_text(text, encoding="utf-8")


def read_layout(folder: Path) -> Layout:
    """Read ``predictor.json``, and check the sizes of the files beside it.

    Raises:
        NotACheckpointError: there is none.
        CorruptCheckpointError: it contradicts itself or the files, or a newer manyheads wrote it.
    """
    path = folder / PREDICTOR_JSON
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise NotACheckpointError(
            f"{folder}: has no {PREDICTOR_JSON}; write one with manyheads export MODEL --to onnx --out {folder}"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path}: cannot be read ({error}); export the model again") from None
    try:
        layout = _layout(record)
    except ManyheadsError as error:
        raise CorruptCheckpointError(f"{path}: {error}; export the model again") from None
    _check_sizes(folder, layout.sizes)
    return layout


def _own_fields(record: Any) -> dict[str, Any]:
    return {item.name: getattr(record, item.name) for item in fields(record)}


def _head_record(head: HeadLayout) -> dict[str, Any]:
    spec = {**write_spec(head.spec), "reads": "auto"}
    return {**_own_fields(head), "spec": spec, "decision": asdict(head.decision)}


def _layout(record: object) -> Layout:
    if not isinstance(record, Mapping) or "protocol" not in record:
        raise CorruptCheckpointError("contains no protocol number, so manyheads did not write it")
    if type(record["protocol"]) is not int or record["protocol"] != PROTOCOL:
        raise CorruptCheckpointError(
            f"protocol {record['protocol']!r} is unknown, only {PROTOCOL} can be read; update manyheads"
        )
    given = {name: value for name, value in record.items() if name not in ("protocol", "manyheads")}
    raw = _built(Layout, given, "the file")
    heads = {name: _head(name, head) for name, head in _typed(raw.heads, dict, "heads").items()}
    prompts = tuple(_prompt(prompt) for prompt in _typed(raw.prompts, list, "prompts"))
    accepted = frozenset(_typed(name, str, "accepted") for name in _typed(raw.accepted, list, "accepted"))
    sizes = {_file(name): _typed(size, int, "sizes") for name, size in _typed(raw.sizes, dict, "sizes").items()}
    if raw.row_groups not in ROW_GROUPS:
        raise CorruptCheckpointError(f"row_groups {raw.row_groups!r} is not among {listed(ROW_GROUPS)}")
    for name, head in heads.items():
        if not all(type(number) is int and 0 <= number <= len(prompts) for number in head.passes):
            raise CorruptCheckpointError(f"head {name!r}: reads the passes {head.passes!r} of {len(prompts) + 1}")
    for item in ("pad", "start"):
        _count(getattr(raw, item), item)
    if raw.limit is not None:
        _count(raw.limit, "limit")
    _typed(raw.language_model, bool, "language_model")
    checked = {"heads": heads, "prompts": prompts, "accepted": accepted, "sizes": sizes}
    return Layout(**{**_own_fields(raw), **checked})


def _head(name: str, record: object) -> HeadLayout:
    where = f"head {name!r}"
    check_name(name)
    raw = _built(HeadLayout, record, where)
    spec = _spec(raw.spec, where)
    decision = _built(Decision, raw.decision, f"{where}: decision")
    spec.check_decision(decision)
    _typed(raw.output, str, f"{where}: output")
    if raw.pairs not in (None, True, False):
        raise CorruptCheckpointError(f"{where}: pairs must be true, false or null, got {raw.pairs!r:.200}")
    _count(raw.bags, f"{where}: bags")
    passes = tuple(_typed(raw.passes, list, f"{where}: passes"))
    return HeadLayout(spec, decision, raw.output, raw.pairs, passes, raw.bags)


def _spec(record: object, where: str) -> HeadSpec:
    if isinstance(record, Mapping) and record.get("reads") != "auto":
        raise CorruptCheckpointError(f"{where}: its reads belong to the graph, not here")
    return read_spec(_typed(record, dict, where))


def _prompt(record: object) -> Template:
    raw = _built(Template, record, "a prompt")
    parts = {
        name: tuple(_count(token, f"a prompt: {name}") for token in _typed(getattr(raw, name), list, "a prompt"))
        for name in ("before", "after", "opening", "closing", "empty")
    }
    limit = None if raw.limit is None else _count(raw.limit, "a prompt: limit")
    return Template(**parts, limit=limit)


def _file(name: object) -> str:
    """Return the name of a file that lies directly in the folder."""
    if not isinstance(name, str) or Path(name).name != name:
        raise CorruptCheckpointError(f"sizes: {name!r:.200} is not the name of a file in the folder")
    return name


def _check_sizes(folder: Path, sizes: Mapping[str, int]) -> None:
    for name, size in sizes.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            has = "is missing" if found is None else f"has {found} bytes"
            raise CorruptCheckpointError(
                f"{path}: {has}, and {PREDICTOR_JSON} says {size}; copy the folder again, or export the model again"
            )


def _built(kind: type[Record], record: object, where: str) -> Record:
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(record, Mapping):
        raise CorruptCheckpointError(f"{where}: must be an object, got {type(record).__name__}")
    if set(record) != known:
        raise CorruptCheckpointError(f"{where}: unknown or absent keys {listed(sorted(set(record) ^ known))}")
    return kind(**record)


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise CorruptCheckpointError(f"{where}: expected {kind.__name__}, got {value!r:.200}")
    return value


def _count(value: object, where: str) -> int:
    if type(value) is not int or value < 0:
        raise CorruptCheckpointError(f"{where}: expected a whole number from 0 on, got {value!r:.200}")
    return value
