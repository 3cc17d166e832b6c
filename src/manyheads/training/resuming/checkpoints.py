"""Complete and damaged checkpoints of a training run.

The last file written to a checkpoint lists all other files with their size and SHA-256. If it is missing or does not
match, the run was killed while writing or the disk failed, and training resumes from an older checkpoint.
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

MANIFEST = "complete.json"

_NAME = re.compile(r"checkpoint-(\d+)")


def mark_complete(checkpoint: Path) -> None:
    """Write the manifest of a checkpoint, after all its other files."""
    others = {checkpoint / MANIFEST, *temporary_files(checkpoint, MANIFEST)}
    paths = sorted(path for path in checkpoint.iterdir() if path.is_file() and path not in others)
    files = {path.name: [path.stat().st_size, file_digest(path)] for path in paths}
    atomic_write(checkpoint / MANIFEST, json.dumps(files, indent=1))


def damage(checkpoint: Path) -> str | None:
    """Return a description of what is missing or damaged in a checkpoint; ``None`` if it is complete."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        expected = {str(name): (int(size), str(digest)) for name, (size, digest) in files.items()}
    except OSError:
        return f"it is incomplete ({MANIFEST} is missing)"
    except (ValueError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    for name, (size, digest) in expected.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size or file_digest(path) != digest:
            return f"{name} is damaged"
    return None


def newest_complete(folder: Path) -> Path | None:
    """Return the newest complete checkpoint in a folder, with a warning about each newer one that is not complete."""
    for checkpoint in reversed(checkpoints_in(folder)):
        wrong = damage(checkpoint)
        if wrong is None:
            return checkpoint
        warnings.warn(f"{checkpoint}: {wrong}; resuming from an older checkpoint", CheckpointWarning, stacklevel=2)
    return None


def checkpoints_in(folder: Path) -> list[Path]:
    """Return all checkpoints in a folder, the oldest first."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.rpartition("-")[2]))


def keep_newest(folder: Path, limit: int, best: Path | None = None) -> None:
    """Delete all checkpoints except the best and the ``limit`` newest ones with a manifest."""
    found = checkpoints_in(folder)
    newest = [path for path in found if (path / MANIFEST).is_file()][-limit:]
    for path in found:
        if path not in newest and (best is None or path.resolve() != best.resolve()):
            delete(path)


def delete(checkpoint: Path) -> None:
    """Delete a checkpoint, its manifest first, so that a kill in between leaves an incomplete one."""
    (checkpoint / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(checkpoint, ignore_errors=True)
