"""The weight files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from manyheads.errors import UnknownBackboneError

# Weight files in transformers' order of preference.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that transformers reads, the index first; none if there are none.

    Raises:
        UnknownBackboneError: an index names a file that is not in its own folder.
    """
    for name in WEIGHTS:
        path = folder / name
        if path.is_file():
            return [path, *(folder / shard for shard in shards_of(path))] if is_index(path) else [path]
    return []


def shards_of(index: Path) -> list[str]:
    """Return the names of the files that an index lists, sorted.

    Raises:
        UnknownBackboneError: the index is damaged, or names a file that is not in its own folder.
    """
    try:
        names = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
    except (ValueError, LookupError, TypeError, AttributeError):
        raise UnknownBackboneError(f"{index}: is not an index of weight files; restore it") from None
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or "\\" in name:
            raise UnknownBackboneError(f"{index}: names the weight file {name!r}, which is not beside it; restore it")
    return names


def is_index(path: Path) -> bool:
    """Return whether a file lists weight files."""
    return path.name.endswith(".index.json")
