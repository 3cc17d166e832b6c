"""Write a folder so that, killed at any moment, the old one or the new one is there, whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from manyheads.errors import OutputExistsError

_CHUNK = 1 << 24

# Linux's request to share a file's blocks until one of the two is changed.
_FICLONE = 0x40049409


def check_free(folder: Path, overwrite: bool) -> None:
    """Refuse a place that already holds something, before any work is spent on filling it.

    Raises:
        OutputExistsError: it is a file, or a folder that is not empty and may not be overwritten.
    """
    parent = next(path for path in Path(os.path.abspath(folder)).parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputExistsError(f"{folder}: {parent} is not a folder that can be written to; choose another place")
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder}: exists and is not a folder; choose another place")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(f"{folder}: exists and is not empty; choose another place, or pass overwrite=True")


@contextmanager
def replacing(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` that takes its place once the block ends without an error.

    Raises:
        OutputExistsError: see :func:`check_free`.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name to put another beside
    recover(folder)
    check_free(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(folder, "new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
        _flush(fresh)
        _swap(fresh, folder)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        recover(folder)
        raise


def recover(folder: Path) -> None:
    """Finish what a killed :func:`replacing` left: put the old folder back if the new one never arrived."""
    folder = Path(os.path.abspath(folder))
    old = _beside(folder, "old")
    if not old.is_dir():
        return
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(folder)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes, sharing its blocks where the file system can."""
    with source.open("rb") as reader, target.open("wb") as writer:
        if sys.platform == "linux":
            import fcntl

            with suppress(OSError):
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
                return
        shutil.copyfileobj(reader, writer, length=1 << 24)


def _swap(fresh: Path, folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()):
        old = _beside(folder, "old")
        folder.rename(old)
        fresh.rename(folder)
        _flush_folder(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    else:
        # Renaming onto an empty folder replaces it in one step.
        fresh.rename(folder)
        _flush_folder(folder.parent)


def _beside(folder: Path, what: str) -> Path:
    return folder.parent / f".{folder.name}.manyheads-{what}"


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            _flush(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _flush_folder(folder)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows opens no folders, and flushes them with their files.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def combined(digests: Iterable[str]) -> str:
    """Return one digest of several, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and rename it: it is there whole, or not at all."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
