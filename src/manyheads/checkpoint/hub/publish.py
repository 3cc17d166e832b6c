"""Turn a saved folder into one for other people: only files of the model, and no path of this machine."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyheads.backbone.identity.source import files_fingerprint
from manyheads.backbone.identity.weight_files import weight_files
from manyheads.checkpoint.adapter import CONFIG as ADAPTER_CONFIG
from manyheads.checkpoint.adapter import FILES, adapter_places
from manyheads.checkpoint.card.base_card import BaseCard
from manyheads.checkpoint.card.seal import CARD
from manyheads.checkpoint.card.write import write_card
from manyheads.checkpoint.format import (
    HEADS_JSON,
    HEADS_WEIGHTS,
    BackboneRecord,
    BranchRecord,
    Checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from manyheads.runtime.hashes import file_digest

_CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json")
# Files of tokenizers, whatever their class.
_TOKENIZERS = (
    "tokenizer.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja",
    "chat_template.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
_TEMPLATES = "additional_chat_templates"
# Entries of configs in which releases of transformers have recorded a place on disk.
_PLACES = ("_name_or_path", "name_or_path", "tokenizer_file", "special_tokens_map_file")
_IMPORTED = re.compile(r"^\s*(?:from|import)\s+\.(\w+)", re.MULTILINE)


def publish(folder: Path, hub_id: str, base_card: BaseCard, tokenizer_files: Iterable[str] = ()) -> None:
    """Change a folder that was just saved, in place.

    Files that are not part of the model are deleted: the backbone's folder may have contained others. Places on this
    machine are removed from configs and records, or replaced by the repository's name.

    Args:
        folder: The folder.
        hub_id: The repository that it will be pushed to.
        base_card: Facts on the backbone for the model card.
        tokenizer_files: Names of further files that the tokenizer may have.
    """
    checkpoint = read_checkpoint(folder)
    base = checkpoint.backbone.base
    for name in _CONFIGS:
        _remove_places(folder / name, base)
    _keep(folder, {*_model_files(folder), *_adapter_files(checkpoint), *tokenizer_files})
    public = _public(checkpoint, folder, hub_id)
    write_card(folder, public, base_card, hub_id)
    write_checkpoint(folder, public)


def _model_files(folder: Path) -> set[str]:
    weights = {path.name for path in weight_files(folder)}
    return {*_CONFIGS, *_TOKENIZERS, *weights, *_code_files(folder), HEADS_JSON, HEADS_WEIGHTS, CARD}


def _adapter_files(checkpoint: Checkpoint) -> set[str]:
    places = adapter_places({name: branch.kind for name, branch in checkpoint.branches.items()})
    return {(place / file).as_posix() for place in places.values() for file in FILES}


def _code_files(folder: Path) -> set[str]:
    """Return the Python files that the configs name as the model's own classes, and those that they import."""
    named = {name for config in _CONFIGS for name in _own_modules(_read(folder / config).get("auto_map"))}
    found: set[str] = set()
    while named:
        name = named.pop()
        path = folder / f"{name}.py"
        if path.is_file() and path.name not in found:
            found.add(path.name)
            named |= set(_IMPORTED.findall(path.read_text("utf-8", errors="replace")))
    return found


def _own_modules(auto_map: object) -> set[str]:
    """Return the modules in an ``auto_map``; those of other repositories contain ``--``."""
    values = auto_map.values() if isinstance(auto_map, Mapping) else []
    paths = [path for value in values for path in (value if isinstance(value, list | tuple) else [value])]
    return {str(path).partition(".")[0] for path in paths if path is not None and "--" not in str(path)}


def _keep(folder: Path, names: set[str]) -> None:
    """Delete all files with other names, except chat templates."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        name = path.relative_to(folder)
        if name.as_posix() not in names and name.parts[0] != _TEMPLATES:
            path.unlink()


def _remove_places(path: Path, base: str | None) -> None:
    """Remove places from a config, and leave the file as it is if it names none."""
    config = _read(path)
    public = _without_places(config, base)
    if public != config:
        path.write_text(json.dumps(public, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _without_places(config: Any, base: str | None) -> Any:
    if isinstance(config, list):
        return [_without_places(item, base) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: _without_places(value, base)
        for key, value in config.items()
        if key not in _PLACES or value in (None, "", base)
    }


def _read(path: Path) -> dict[str, Any]:
    """Return a config; an empty one if there is no such file."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _public(checkpoint: Checkpoint, folder: Path, hub_id: str) -> Checkpoint:
    """Return the content of ``heads.json`` without places on this machine."""
    backbone = _public_backbone(checkpoint.backbone)
    if backbone.kind == "full":
        backbone = replace(backbone, fingerprint=files_fingerprint(folder))
    base = hub_id if backbone.kind == "full" else backbone.name
    places = adapter_places({name: branch.kind for name, branch in checkpoint.branches.items()})
    branches = {
        name: _rebased(branch, folder / places[name], base) if name in places else branch
        for name, branch in checkpoint.branches.items()
    }
    heads = {name: replace(head, summary=_without_paths(head.summary)) for name, head in checkpoint.heads.items()}
    return replace(checkpoint, backbone=backbone, branches=branches, heads=heads)


def _public_backbone(backbone: BackboneRecord) -> BackboneRecord:
    """Return a record whose name is a hub id or missing."""
    is_place = backbone.name is None or _is_path(backbone.name)
    return replace(backbone, name=None, revision=None) if is_place else backbone


def _rebased(branch: BranchRecord, folder: Path, base: str | None) -> BranchRecord:
    """Write the hub id of the backbone into an adapter's config, and return the branch with the new checksum."""
    path = folder / ADAPTER_CONFIG
    config = {**_read(path), "base_model_name_or_path": base}
    path.write_text(json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return replace(branch, files={file: file_digest(folder / file) for file in FILES})


def _without_paths(value: Any) -> Any:
    """Return plain JSON without the entries that are absolute paths."""
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items() if not _is_path(item)}
    return [_without_paths(item) for item in value if not _is_path(item)] if isinstance(value, list) else value


def _is_path(value: object) -> bool:
    return isinstance(value, str) and (os.path.isabs(value) or value.startswith(("~", "./", "../")))
