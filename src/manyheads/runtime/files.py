"""Atomic writes: a process killed at any moment leaves the old file or folder, or the new one, complete."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from manyheads.errors import OutputExistsError

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
        _sync_folder(path.parent)
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


@contextmanager
def atomic_folder(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces ``folder`` when the block ends without an error.

    Raises:
        OutputExistsError: as ``check_free`` does.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name to derive the temporary one from
    recover(folder)
    check_free(folder, overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _sibling(folder, "new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        _sync_tree(temporary)
        _replace_folder(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        recover(folder)
        raise


def recover(folder: Path) -> None:
    """Repair a folder after an ``atomic_folder`` was killed: if no new folder is there, restore the old one."""
    folder = Path(os.path.abspath(folder))
    old = _sibling(folder, "old")
    if not old.is_dir():
        return
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(folder)


def check_free(folder: Path, overwrite: bool) -> None:
    """Check, before any work is done, that a folder can be written.

    Raises:
        OutputExistsError: it is a file, its parent is not writable, or it is not empty and ``overwrite`` is false.
    """
    parent = next(path for path in Path(os.path.abspath(folder)).parents if path.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise OutputExistsError(f"{folder}: {parent} is not a writable folder; choose another path")
    if folder.exists() and not folder.is_dir():
        raise OutputExistsError(f"{folder}: exists and is not a folder; choose another path")
    if folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise OutputExistsError(f"{folder}: exists and is not empty; choose another path or pass overwrite=True")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes; on file systems with copy-on-write, share its blocks instead."""
    with source.open("rb") as reader, target.open("wb") as writer:
        if sys.platform == "linux":
            import fcntl

            with suppress(OSError):
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
                return
        shutil.copyfileobj(reader, writer, length=_CHUNK_BYTES)


def _replace_folder(temporary: Path, folder: Path) -> None:
    # Renaming replaces an empty folder in one step, and a folder with files in two: see `recover`.
    old = _sibling(folder, "old") if folder.is_dir() and any(folder.iterdir()) else None
    if old is not None:
        folder.rename(old)
    temporary.rename(folder)
    _sync_folder(folder.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _sibling(folder: Path, suffix: str) -> Path:
    return folder.parent / f".{folder.name}.manyheads-{suffix}"


def _sync_tree(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            _sync_tree(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders and needs no flush of their entries.
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
