"""Checkpoints of a run that goes on: which of them are whole.

The last file written to a checkpoint names every other one with its size and SHA-256. Where it is missing, or does not
agree, the writer was killed or the disk failed, and an older checkpoint is the one to go on from.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from pathlib import Path

from manyheads.errors import CheckpointWarning
from manyheads.runtime.files import atomic_write, temporary_files
from manyheads.runtime.hashes import file_digest

MARK = "whole.json"

_NAME = re.compile(r"checkpoint-(\d+)")


def mark_whole(folder: Path) -> None:
    """Mark a checkpoint as whole, all its files being written."""
    files = {path.name: [path.stat().st_size, file_digest(path)] for path in _files(folder)}
    atomic_write(folder / MARK, json.dumps(files, indent=1))


def damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint; ``None`` if it is whole."""
    try:
        files = json.loads((folder / MARK).read_text(encoding="utf-8"))
        expected = {str(name): (int(size), str(digest)) for name, (size, digest) in files.items()}
    except OSError:
        return f"it was not written to its end ({MARK} is missing)"
    except (ValueError, TypeError, AttributeError):
        return f"{MARK} is damaged"
    for name, (size, digest) in expected.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size or file_digest(path) != digest:
            return f"{name} is damaged"
    return None


def last_whole(folder: Path) -> Path | None:
    """Return the newest whole checkpoint in a folder, with a warning about each newer one that is not."""
    for checkpoint in reversed(checkpoints_in(folder)):
        wrong = damage(checkpoint)
        if wrong is None:
            return checkpoint
        warnings.warn(f"{checkpoint}: {wrong}; going on from an older one", CheckpointWarning, stacklevel=2)
    return None


def checkpoints_in(folder: Path) -> list[Path]:
    """Return a run's checkpoints, whole or not, the oldest first."""
    found = (
        [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()] if folder.is_dir() else []
    )
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def keep_newest(folder: Path, most: int, best: Path | None = None) -> None:
    """Delete all checkpoints but the newest marked ones, and the best."""
    found = checkpoints_in(folder)
    kept = [path for path in found if (path / MARK).is_file()][-most:]
    for path in found:
        if path not in kept and (best is None or path.resolve() != best.resolve()):
            delete(path)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, its mark first: what a kill leaves of it must not pass for whole."""
    (checkpoint / MARK).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    others = {folder / MARK, *temporary_files(folder, MARK)}
    return sorted(path for path in folder.iterdir() if path.is_file() and path not in others)
