"""Atomic writes: a process killed at any moment leaves the old file or the new one, complete."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from manyheads.errors import DataError, OutputExistsError

_TEMPORARY = ".part"
_CHUNK_BYTES = 1 << 24

# The ioctl with which Linux makes two files share blocks until one of them changes.
_FICLONE = 0x40049409


def atomic_write(path: Path, content: str | bytes | Callable[[BinaryIO], Any]) -> None:
    """Write a file so that it is complete or unchanged, also if several processes write it at the same time.

    Args:
        path: Its folder must exist. The file's mode follows the umask.
        content: Text (written as UTF-8), bytes, or a function that writes to an open binary file.

    Raises:
        OSError: the file cannot be written; nothing is left beside it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{_TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def temporary_files(folder: Path, name: str = "*") -> list[Path]:
    """Return the files that a running ``atomic_write`` is writing, or a killed one has left.

    Args:
        folder: Where to look.
        name: A file's name, or a pattern of names.
    """
    return sorted(folder.glob(f".{name}.*{_TEMPORARY}"))


def check_writable(path: Path) -> None:
    """Check, before any work is done, that a file or folder can be created at a path.

    Raises:
        OutputExistsError: the nearest folder above it that exists is not writable.
    """
    parent = next(folder for folder in Path(os.path.abspath(path)).parents if os.path.lexists(folder))
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputExistsError(f"{path}: {parent} is not a writable folder; choose another path")


def check_new_file(path: Path, overwrite: bool) -> None:
    """Check, before any work is done, that a file can be written to a path.

    Raises:
        DataError: its folder does not exist.
        OutputExistsError: a file is there and must not be replaced, or a folder, or its folder is not writable.
    """
    if not path.absolute().parent.is_dir():
        raise DataError(f"{path}: the folder {path.parent} does not exist; create it first")
    check_writable(path)
    if path.is_dir():
        raise OutputExistsError(f"{path}: is a folder; choose another path")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: already exists; choose another path or pass --overwrite")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes; on file systems with copy-on-write, share its blocks instead."""
    with source.open("rb") as reader, target.open("wb") as writer:
        if sys.platform == "linux":
            import fcntl

            with suppress(OSError):
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
                return
        shutil.copyfileobj(reader, writer, length=_CHUNK_BYTES)


def sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk."""
    if os.name == "nt":  # Windows cannot open folders and needs no flush of their entries.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
