"""Where a backbone came from: its folder, its files, and their fingerprint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from manyheads.errors import BackboneError, UnknownBackboneError, one_line
from manyheads.runtime.hashes import combined_digest, file_digest

# Weight files in the order in which transformers prefers them.
_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
# What belongs to a checkpoint besides weights; a training folder's optimizer states and logs do not.
_COMPANIONS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py")
# Files that describe something other than the model, or that another part writes.
_STRANGERS = frozenset({"heads.json", "trainer_state.json", "all_results.json", "train_results.json", "modules.json"})
# config.json's bookkeeping: no feature depends on it.
_BOOKKEEPING = frozenset({"_name_or_path", "transformers_version", "dtype", "torch_dtype"})


@dataclass(frozen=True)
class Source:
    """A checkpoint on disk, as it was when it was loaded.

    Attributes:
        name: What the user called it: a path or a hub id.
        revision: The hub revision, if one was named.
        folder: Where its files lie.
        stamps: File name -> (size, modification time in nanoseconds) at loading.
    """

    name: str
    revision: str | None
    folder: Path
    stamps: dict[str, tuple[int, int]]

    @property
    def weight_files(self) -> list[Path]:
        """The files that transformers reads the weights from, an index first."""
        return _weight_files(self.folder)

    @property
    def files(self) -> list[Path]:
        """Every file that makes up the checkpoint, sorted by name."""
        return [self.folder / name for name in sorted(self.stamps)]

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the weight files and of what config.json says of the computation.

        Raises:
            BackboneError: the files are no longer those that were loaded.
        """
        self.check_unmoved()
        return files_fingerprint(self.folder)

    def check_unmoved(self) -> None:
        """Refuse to speak for files that changed since they were loaded.

        Raises:
            BackboneError: a file is gone, or has another size or time.
        """
        for name, stamp in self.stamps.items():
            path = self.folder / name
            if not path.exists() or _stamp(path) != stamp:
                raise BackboneError(
                    f"{self.name}: {name} changed on disk since the backbone was loaded; load it again before saving"
                )


def resolve_source(name: str | Path, revision: str | None = None) -> Source:
    """Find a checkpoint's files: a folder, or a hub id (downloaded into the hub's own cache).

    Raises:
        UnknownBackboneError: there is no such folder or hub repository, or it holds no config.json or weights.
    """
    folder = locate(name, revision)
    if not (folder / "config.json").is_file():
        raise UnknownBackboneError(f"{name}: holds no config.json, so it is no Hugging Face checkpoint; check the path")
    weights = _weight_files(folder)
    if not weights:
        raise UnknownBackboneError(f"{name}: holds no weights ({', '.join(_WEIGHTS)}); check that it was saved whole")
    lost = [path.name for path in weights if not path.is_file()]
    if lost:
        raise UnknownBackboneError(f"{name}: its index names the weight file {lost[0]!r}, which is missing; restore it")
    companions = {path for pattern in _COMPANIONS for path in folder.glob(pattern)}
    kept = {path for path in companions if path.name not in _STRANGERS and not _is_index(path)} | set(weights)
    return Source(str(name), revision, folder, {path.name: _stamp(path) for path in kept})


def locate(name: str | Path, revision: str | None = None) -> Path:
    """Return the folder of that name, or the hub repository's downloaded one.

    Raises:
        UnknownBackboneError: neither exists.
    """
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else _downloaded(str(name), revision)


def files_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the checkpoint in a folder, whatever dtype it will be loaded in."""
    weights = [path for path in _weight_files(folder) if not _is_index(path)]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    said = {key: value for key, value in config.items() if key not in _BOOKKEEPING}
    return "files:" + combined_digest([json.dumps(said, sort_keys=True), *(file_digest(path) for path in weights)])


def _weight_files(folder: Path) -> list[Path]:
    for name in _WEIGHTS:
        path = folder / name
        if not path.is_file():
            continue
        if not _is_index(path):
            return [path]
        shards = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
        return [path, *(folder / shard for shard in shards)]
    return []


def _is_index(path: Path) -> bool:
    return path.name.endswith(".index.json")


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _downloaded(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*_COMPANIONS, "*.safetensors"]
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
        if not _weight_files(folder):
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=[*_COMPANIONS, "*.bin"]))
        return folder
    except HFValidationError:
        raise UnknownBackboneError(f"{name}: no such folder, and not a hub id (owner/name); check the path") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UnknownBackboneError(f"{name}: no such folder, and the hub does not give it: {one_line(error)}") from None
