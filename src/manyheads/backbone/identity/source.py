"""The source of a backbone: its folder, its files and their fingerprint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from manyheads.backbone.identity.config import relevant_entries
from manyheads.backbone.identity.download import download
from manyheads.backbone.identity.weight_files import WEIGHTS, is_index, weight_files
from manyheads.errors import BackboneError, UnknownBackboneError
from manyheads.runtime.hashes import combined_digest, file_digest

# Files of a checkpoint besides weights; optimizer states and logs of a training folder are left out.
_COMPANIONS = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py")
# Files that do not describe the model.
_UNRELATED = frozenset({"heads.json", "trainer_state.json", "all_results.json", "train_results.json", "modules.json"})


@dataclass(frozen=True)
class Source:
    """A checkpoint on disk, at the time of loading.

    Attributes:
        name: The path or hub id that the user gave.
        revision: The commit of the hub repository, or the revision that the user gave; ``None`` for a folder.
        folder: The folder of its files.
        stamps: File name -> (size, modification time in nanoseconds) at loading.
    """

    name: str
    revision: str | None
    folder: Path
    stamps: dict[str, tuple[int, int]]

    @property
    def hub_id(self) -> str | None:
        """The hub id that it was loaded by; ``None`` for a folder."""
        return None if self.folder == Path(self.name).expanduser() else self.name

    @property
    def weight_files(self) -> list[Path]:
        """The weight files that transformers reads, the index first."""
        return weight_files(self.folder)

    @property
    def files(self) -> list[Path]:
        """Every file of the checkpoint, sorted by name."""
        return [self.folder / name for name in sorted(self.stamps)]

    @cached_property
    def fingerprint(self) -> str:
        """The hash of the weight files and of the entries of config.json that affect the computation.

        Raises:
            BackboneError: the files changed since they were loaded.
        """
        self.check_unchanged()
        return files_fingerprint(self.folder)

    def check_unchanged(self) -> None:
        """Check that the files did not change since they were loaded.

        Raises:
            BackboneError: a file is gone, or has another size or modification time.
        """
        for name, stamp in self.stamps.items():
            path = self.folder / name
            if not path.exists() or _stamp(path) != stamp:
                raise BackboneError(
                    f"{self.name}: {name} changed on disk after the backbone was loaded; load it again before saving"
                )


def resolve_source(name: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Source:
    """Return a checkpoint's source, from a folder or a hub id (downloaded into the hub's own cache).

    Args:
        name: The folder or hub id.
        revision: Revision of a hub repository.
        trust_remote_code: Whether Python code is downloaded.

    Raises:
        UnknownBackboneError: no such folder or hub repository, or no config.json or weights in it.
    """
    folder = locate(name, revision, trust_remote_code)
    if not (folder / "config.json").is_file():
        raise UnknownBackboneError(
            f"{name}: is not a Hugging Face checkpoint, as it contains no config.json; check the path"
        )
    weights = weight_files(folder)
    if not weights:
        raise UnknownBackboneError(f"{name}: contains no weights ({', '.join(WEIGHTS)}); restore them")
    missing = [path.name for path in weights if not path.is_file()]
    if missing:
        raise UnknownBackboneError(f"{name}: weight file {missing[0]!r} of its index is missing; restore it")
    companions = {path for pattern in _COMPANIONS for path in folder.glob(pattern)}
    kept = {path for path in companions if path.name not in _UNRELATED and not is_index(path)} | set(weights)
    return Source(str(name), revision, folder, {path.name: _stamp(path) for path in kept})


def locate(name: str | Path, revision: str | None = None, trust_remote_code: bool = False) -> Path:
    """Return a folder of that name, or the folder that a hub repository is downloaded to.

    Raises:
        UnknownBackboneError: neither exists.
    """
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else download(str(name), revision, trust_remote_code)


def files_fingerprint(folder: Path) -> str:
    """Return the fingerprint of the checkpoint in a folder; it is the same for every dtype it is loaded in."""
    weights = [path for path in weight_files(folder) if not is_index(path)]
    config = json.loads((folder / "config.json").read_text("utf-8"))
    relevant = json.dumps(relevant_entries(config), sort_keys=True)
    return "files:" + combined_digest([relevant, *(file_digest(path) for path in weights)])


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
