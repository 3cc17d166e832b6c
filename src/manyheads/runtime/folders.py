"""Atomic folders: a reader, or a process killed at any moment, finds the old folder or the new one, complete.

A folder is written beside its target under a name of its own and then takes the target's place under a lock. On systems
without ``fcntl`` (Windows) two processes that save to one folder are not kept apart.
"""

from __future__ import annotations

import glob
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from manyheads.errors import OutputExistsError, listed
from manyheads.runtime.files import sync_folder

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# The names of the files in a folder that are replaced or deleted together with it, relative, with "/".
OwnFiles = Callable[[Path], Collection[str]]

Result = TypeVar("Result")


@contextmanager
def atomic_folder(folder: Path, check: Callable[[], None], own_files: OwnFiles) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces ``folder`` when the block ends without an error.

    Files of the replaced folder that ``own_files`` does not name are moved to the new one. All new files get the mode
    that the umask gives. If several processes do this at the same time, the last one's folder remains.

    Args:
        folder: The target.
        check: Raises if the target must not be replaced; called before the block, and again before the replacement.
        own_files: Returns the names of the files of a replaced folder that go with it.

    Raises:
        OutputExistsError: a file that would be kept has the name of a new one.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name to derive the temporary one from
    recover(folder, own_files)
    with held(folder):
        check()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(folder.parent):
        _delete_abandoned(folder)
        temporary = _sibling(folder, "new")
        temporary.mkdir()
        handle = _lock(temporary)
    try:
        yield temporary
        _set_modes(temporary)
        _sync_tree(temporary)
        with _exclusive(folder.parent):
            check()
            _replace_folder(temporary, folder, own_files)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        recover(folder, own_files)
        raise
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from replacing a folder: during a replacement it is absent for a moment."""
    with _exclusive(folder.parent) if folder.parent.is_dir() else nullcontext():
        yield


def recover(folder: Path, own_files: OwnFiles) -> None:
    """Complete or undo the replacement of a folder by a process that was killed during it."""
    folder = Path(os.path.abspath(folder))
    if not _siblings(folder, "old"):
        return
    with _exclusive(folder.parent):
        for old in _siblings(folder, "old"):
            if folder.exists():
                _move_other_files(old, folder, own_files)
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(folder)


def read_whole(folder: Path, own_files: OwnFiles, read: Callable[[], Result]) -> Result:
    """Read a folder; if another process replaced it meanwhile, read it again while it cannot be replaced.

    Args:
        folder: The folder.
        own_files: As for ``atomic_folder``.
        read: Reads it; its errors are raised if the folder was not replaced.
    """
    recover(folder, own_files)
    before = _identity(folder)
    try:
        result = read()
    except Exception:
        if _identity(folder) == before:
            raise
    else:
        if _identity(folder) == before:
            return result
    recover(folder, own_files)
    with _exclusive(folder.resolve().parent):
        return read()


def _identity(folder: Path) -> tuple[int, int, int] | None:
    """Return what differs between a folder and its replacement; a replacement may get the same inode number."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_ctime_ns


def other_files(folder: Path, own_files: OwnFiles) -> list[str]:
    """Return the names of the files and empty folders in a folder that ``own_files`` does not name."""
    own = set(own_files(folder))
    return [name for name in _names(folder) if name not in own]


def _replace_folder(temporary: Path, folder: Path, own_files: OwnFiles) -> None:
    # Renaming replaces an empty folder in one step, and a folder with files in two: see `recover`.
    if not folder.is_dir() or not any(folder.iterdir()):
        temporary.rename(folder)
        sync_folder(folder.parent)
        return
    kept, new = other_files(folder, own_files), set(_names(temporary))
    twice = [name for name in kept if name in new or any(str(parent) in new for parent in Path(name).parents)]
    if twice:
        raise OutputExistsError(
            f"{folder}: {listed(twice)} would be replaced, but was not saved by manyheads; move it to another folder"
        )
    old = _sibling(folder, "old")
    folder.rename(old)
    temporary.rename(folder)
    sync_folder(folder.parent)
    _move_other_files(old, folder, own_files)
    shutil.rmtree(old, ignore_errors=True)


def _move_other_files(old: Path, folder: Path, own_files: OwnFiles) -> None:
    for name in other_files(old, own_files):
        target = folder / name
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            (old / name).rename(target)


def _names(folder: Path, prefix: str = "") -> list[str]:
    """Return the relative names of all files, links and empty folders in a folder, sorted."""
    names: list[str] = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        inside = _names(Path(entry.path), f"{prefix}{entry.name}/") if entry.is_dir(follow_symlinks=False) else []
        names += inside or [prefix + entry.name]
    return names


def _delete_abandoned(folder: Path) -> None:
    """Delete the temporary folders of processes that were killed: their locks are free."""
    for temporary in _siblings(folder, "new"):
        handle = _lock(temporary)
        if handle is not None:
            shutil.rmtree(temporary, ignore_errors=True)
            os.close(handle)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder; without one where the file system has no locks."""
    handle = None if fcntl is None else os.open(folder, os.O_RDONLY)
    try:
        if handle is not None:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(folder: Path) -> int | None:
    """Lock a folder until its handle is closed, and return the handle; ``None`` if another process holds the lock."""
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _siblings(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.parent.glob(f".{glob.escape(folder.name)}.manyheads-{kind}-*"))


def _sibling(folder: Path, kind: str) -> Path:
    return folder.parent / f".{folder.name}.manyheads-{kind}-{uuid.uuid4().hex[:12]}"


def _set_modes(folder: Path) -> None:
    """Give all files the mode of a newly created one; some writers create theirs for their user alone."""
    example = folder / f".{uuid.uuid4().hex}"
    example.touch()
    mode = stat.S_IMODE(example.stat().st_mode)
    example.unlink()
    for name in _names(folder):
        if (folder / name).is_file():
            (folder / name).chmod(mode)


def _sync_tree(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            _sync_tree(path)
            continue
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
