"""``heads.json``: its records, how they are written, and how they are parsed and audited before anything is built.

No entry names an importable path or a file outside the folder.

``PROTOCOL`` is the number of the format. Increase it with the first change of the format after a release, so at most
once per release, and move the reader of the released format to a folder ``old/`` beside this file.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from manyheads.checkpoint.card.seal import CARD, is_edited
from manyheads.errors import (
    CorruptCheckpointError,
    HeadNameError,
    ManyheadsError,
    NotACheckpointError,
    listed,
)
from manyheads.heads import Decision, HeadSpec, read_spec, write_spec
from manyheads.heads.names import check_name
from manyheads.taps import Branched, Output, Tap, read_tap, write_tap

PROTOCOL = 1
HEADS_JSON = "heads.json"
HEADS_WEIGHTS = "heads.safetensors"
KINDS = ("full", "reference", "heads")

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

Record = TypeVar("Record")


@dataclass(frozen=True)
class BackboneRecord:
    """Which backbone the heads belong to.

    Attributes:
        kind: ``"full"`` if its files are in the same folder, ``"reference"`` if only its name is kept, ``"heads"`` if
            the heads are to be attached to a backbone that is already loaded.
        architecture: Its class.
        fingerprint: See ``Backbone.fingerprint``.
        tensors: The digest of its tensors in memory, for heads that meet the same weights without their files.
        config: The digest of the entries of its config that affect the computation.
        tokenizer: The digest of its tokenizer, if it has one.
        name: The path or hub id it was loaded by, if any.
        revision: The hub revision, if one was named.
        token_budget: The fastest number of tokens per batch, as measured; saved, since batches affect the last bits.
        base: The hub id of the checkpoint that its weights come from, through any number of saves; ``None`` for a local
            one, or none.
        tuned: Whether its weights or tokens differ from those of that checkpoint; ``None`` without one.
    """

    kind: str
    architecture: str
    fingerprint: str
    tensors: str
    config: str
    tokenizer: str | None
    name: str | None
    revision: str | None
    token_budget: int | None
    base: str | None
    tuned: bool | None


@dataclass(frozen=True)
class HeadRecord:
    """One head.

    Attributes:
        spec: The head's spec.
        taps: Its resolved taps.
        trained: Whether it was trained.
        class_weights: The class weights of its loss, balanced ones included.
        decision: How it turns scores into an answer.
        summary: A record of the last training.
        tensors: Weight name -> shape.
    """

    spec: HeadSpec
    taps: tuple[Tap, ...]
    trained: bool
    class_weights: list[float] | None
    decision: Decision
    summary: dict[str, Any]
    tensors: dict[str, list[int]]


@dataclass(frozen=True)
class BranchRecord:
    """A branch beside the backbone, which heads read.

    Attributes:
        kind: ``"fork"`` or ``"lora"``.
        settings: The settings to build it with.
        tensors: Weight name -> shape.
        files: SHA-256 of the files that hold it, by their names; none where ``heads.safetensors`` does.
    """

    kind: str
    settings: dict[str, Any]
    tensors: dict[str, list[int]]
    files: dict[str, str]


@dataclass(frozen=True)
class Checkpoint:
    """All of ``heads.json``.

    Attributes:
        backbone: Which backbone the heads belong to.
        branches: The branches by name.
        weights: SHA-256 of ``heads.safetensors``.
        heads: The heads by name, in order.
        version: The manyheads release that wrote it, for people.
    """

    backbone: BackboneRecord
    branches: dict[str, BranchRecord]
    weights: str
    heads: dict[str, HeadRecord]
    version: str


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write ``heads.json``, the last file of a folder: it lists them all."""
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} | {HEADS_JSON}
    (folder / HEADS_JSON).write_text(checkpoint_text(checkpoint, files), encoding="utf-8")


def checkpoint_text(checkpoint: Checkpoint, files: Iterable[str]) -> str:
    """Return the text of ``heads.json``.

    Args:
        checkpoint: Its content.
        files: The names of all files that were saved in the folder.
    """
    heads = {
        name: {
            **asdict_shallow(head),
            "spec": write_spec(head.spec),
            "taps": [write_tap(tap) for tap in head.taps],
            "decision": asdict(head.decision),
        }
        for name, head in checkpoint.heads.items()
    }
    record = {
        "protocol": PROTOCOL,
        "version": checkpoint.version,
        "backbone": asdict(checkpoint.backbone),
        "branches": {name: asdict(branch) for name, branch in checkpoint.branches.items()},
        "weights": checkpoint.weights,
        "heads": heads,
        "files": sorted(files),
    }
    record["checksum"] = checksum(record)
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def checksum(record: Mapping[str, Any]) -> str:
    """Return the SHA-256 of ``heads.json`` without its own entry ``checksum``, whatever the order of its keys."""
    content = {key: value for key, value in record.items() if key != "checksum"}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def saved_files(folder: Path) -> frozenset[str]:
    """Return the names of the files that were saved in a folder; none if manyheads did not save it.

    A model card that a person edited is theirs and not among them.
    """
    try:
        record = json.loads((folder / HEADS_JSON).read_text("utf-8"))
        files = frozenset(_names(record["files"]) if record["protocol"] == PROTOCOL else ())
        return files - {CARD} if is_edited(folder) else files
    except (OSError, ValueError, RecursionError, LookupError, TypeError, CorruptCheckpointError):
        return frozenset()


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read and audit ``heads.json``.

    Raises:
        NotACheckpointError: the folder has none.
        CorruptCheckpointError: invalid JSON, or content that this protocol does not allow.
    """
    path = folder / HEADS_JSON
    if not path.is_file():
        raise NotACheckpointError(f"{folder}: holds no {HEADS_JSON}, so manyheads did not save it; check the path")
    try:
        record = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{path}: is not JSON ({error}); restore it from where it was saved") from None
    try:
        return _parsed(record)
    except CorruptCheckpointError as error:
        raise CorruptCheckpointError(f"{path}: {error}") from None


def asdict_shallow(record: Any) -> dict[str, Any]:
    """Return a dataclass's own fields, values untouched."""
    return {item.name: getattr(record, item.name) for item in fields(record)}


def _parsed(record: object) -> Checkpoint:
    if not isinstance(record, Mapping) or "protocol" not in record:
        raise CorruptCheckpointError("contains no protocol number, so manyheads did not write it; restore it")
    protocol = record["protocol"]
    if type(protocol) is not int or protocol != PROTOCOL:
        raise CorruptCheckpointError(f"protocol {protocol!r} is unknown, only {PROTOCOL} can be read; update manyheads")
    _keys(record, {"protocol", "version", "backbone", "branches", "weights", "heads", "files", "checksum"}, "the file")
    if record["checksum"] != checksum(record):
        raise CorruptCheckpointError("differs from its own checksum, so it was edited or damaged; restore it")
    _names(record["files"])
    heads = record["heads"]
    if not isinstance(heads, Mapping):
        raise CorruptCheckpointError(f"'heads' must be an object, got {type(heads).__name__}")
    backbone = _built(BackboneRecord, record["backbone"], "backbone")
    if backbone.kind not in KINDS:
        raise CorruptCheckpointError(f"backbone: kind {backbone.kind!r} is not among {listed(KINDS)}")
    if not (backbone.token_budget is None or (type(backbone.token_budget) is int and backbone.token_budget > 0)):
        raise CorruptCheckpointError(f"backbone: token_budget must be a positive number, got {backbone.token_budget!r}")
    if not (backbone.base is None or (isinstance(backbone.base, str) and _HUB_ID.fullmatch(backbone.base))):
        raise CorruptCheckpointError(f"backbone: base must be a hub id or null, got {backbone.base!r:.200}")
    if backbone.tuned not in (None, True, False):
        raise CorruptCheckpointError(f"backbone: tuned must be true, false or null, got {backbone.tuned!r:.200}")
    _typed(record["weights"], str, "weights")
    branches = {name: _branch(name, raw) for name, raw in _typed(record["branches"], dict, "branches").items()}
    records: dict[str, HeadRecord] = {}
    for name, raw in heads.items():
        records[name] = _head(name, raw, branches)
        _check_heads_read(name, records)
    return Checkpoint(backbone, branches, record["weights"], records, str(record["version"]))


def _names(files: object) -> list[str]:
    if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
        raise CorruptCheckpointError(f"'files' must be a list of names, got {files!r}")
    return files


def _branch(name: str, record: object) -> BranchRecord:
    where = f"branch {name!r}"
    if not name.isidentifier():
        raise CorruptCheckpointError(f"{where}: is no identifier")
    raw = _built(BranchRecord, record, where)
    _typed(raw.kind, str, where)
    _typed(raw.settings, dict, where)
    _check_tensors(raw.tensors, where)
    for file, digest in _typed(raw.files, dict, where).items():
        _typed(digest, str, f"{where}: {file}")
    return raw


def _check_tensors(tensors: object, where: str) -> None:
    for tensor, shape in _typed(tensors, dict, where).items():
        if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
            raise CorruptCheckpointError(f"{where}: tensor {tensor!r} has no shape but {shape!r}")


def _head(name: str, record: object, branches: Mapping[str, BranchRecord]) -> HeadRecord:
    where = f"head {name!r}"
    try:
        check_name(name)
        raw = _built(HeadRecord, record, where)
        spec, taps = (
            read_spec(_typed(raw.spec, dict, where)),
            tuple(read_tap(tap) for tap in _typed(raw.taps, list, where)),
        )
        decision = _built(Decision, raw.decision, f"{where}: decision")
        spec.check_decision(decision)
    except HeadNameError as error:
        raise CorruptCheckpointError(str(error)) from None
    except ManyheadsError as error:
        text = str(error)
        raise CorruptCheckpointError(text if text.startswith(where) else f"{where}: {text}") from None
    _typed(raw.trained, bool, where)
    _typed(raw.summary, dict, where)
    _check_tensors(raw.tensors, where)
    for tap in taps:
        if isinstance(tap, Branched) and tap.branch not in branches:
            raise CorruptCheckpointError(f"{where}: reads the branch {tap.branch!r}, which is not declared")
    _check_class_weights(raw.class_weights, spec.score_width, where)
    return HeadRecord(spec, taps, raw.trained, raw.class_weights, decision, raw.summary, raw.tensors)


def _check_heads_read(name: str, before: Mapping[str, HeadRecord]) -> None:
    """Check that every head that this one reads is declared before it; this excludes cycles."""
    for tap in before[name].taps:
        if not isinstance(tap, Output):
            continue
        if tap.head == name or tap.head not in before:
            raise CorruptCheckpointError(f"head {name!r}: reads head {tap.head!r}, which is not declared before it")
        scores = before[tap.head].spec.score_width
        if tap.scores is None or tap.scores > scores:
            raise CorruptCheckpointError(
                f"head {name!r}: reads {tap.scores} scores of {tap.head!r}, which has {scores}"
            )


def _check_class_weights(weights: object, labels: int, where: str) -> None:
    if weights is None:
        return
    numbers = isinstance(weights, list) and all(isinstance(item, float) and 0 < item < math.inf for item in weights)
    if not (numbers and isinstance(weights, list) and len(weights) == labels):
        raise CorruptCheckpointError(f"{where}: class_weights must be {labels} positive numbers, got {weights!r}")


def _built(kind: type[Record], record: object, where: str) -> Record:
    _keys(record, {item.name for item in fields(kind)}, where)  # type: ignore[arg-type]
    assert isinstance(record, Mapping)
    return kind(**record)


def _keys(record: object, known: set[str], where: str) -> None:
    if not isinstance(record, Mapping):
        raise CorruptCheckpointError(f"{where}: must be an object, got {type(record).__name__}")
    if set(record) != known:
        wrong = sorted(set(record) ^ known)
        raise CorruptCheckpointError(f"{where}: unknown or absent keys {listed(wrong)}")


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise CorruptCheckpointError(f"{where}: expected {kind.__name__}, got {value!r}")
    return value
