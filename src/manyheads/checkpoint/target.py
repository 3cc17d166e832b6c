"""The folder that a model is saved to: what may be replaced there, and whether there is room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from manyheads.checkpoint.format import saved_files
from manyheads.errors import CheckpointError, OutputExistsError, listed
from manyheads.runtime.files import check_writable
from manyheads.runtime.folders import OwnFiles, other_files


def check_target(
    folder: Path,
    overwrite: bool,
    inputs: Iterable[Path] = (),
    own_files: OwnFiles = saved_files,
    content: str = "a saved model",
) -> None:
    """Check, before any work is done, that a model can be saved to a folder and that nothing else is lost by it.

    Only a saved model is replaced, and of its folder only the files that were saved with it.

    Args:
        folder: The folder to save to.
        overwrite: Whether a saved model may be replaced.
        inputs: Files and folders that the run reads: tables, the run file, the backbone.
        own_files: Returns the names of the files in a folder that were saved together; none for another folder.
        content: What such a folder contains, for messages.

    Raises:
        OutputExistsError: it is a file, a mount point, not writable, or not empty and ``overwrite`` is false; or it
            contains files that must stay.
    """
    folder = Path(os.path.realpath(folder))
    check_writable(folder)
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise OutputExistsError(f"{folder}: exists and is not a folder; choose another path")
    if folder.is_mount():
        raise OutputExistsError(f"{folder}: is a mount point, which cannot be replaced; choose a folder inside it")
    if any(folder.iterdir()):
        _check_replaceable(folder, overwrite, inputs, own_files, content)


def check_space(folder: Path, size: int) -> None:
    """Check that a disk has room for a model.

    Args:
        folder: The folder to save to.
        size: The expected size of its files in bytes.

    Raises:
        CheckpointError: less is free.
    """
    parent = next(path for path in Path(os.path.abspath(folder)).parents if path.is_dir())
    free = shutil.disk_usage(parent).free
    if free < size:
        raise CheckpointError(
            f"{folder}: needs {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free on its disk; free some space or "
            "choose another path"
        )


def _check_replaceable(
    folder: Path, overwrite: bool, inputs: Iterable[Path], own_files: OwnFiles, content: str
) -> None:
    for what, place in (("the working folder", Path.cwd()), ("the home folder", Path.home())):
        if place.resolve().is_relative_to(folder):
            raise OutputExistsError(f"{folder}: is {what} or contains it, and is not empty; choose another path")
    own = own_files(folder)
    for path in inputs:
        real = Path(os.path.realpath(path))
        if real.is_relative_to(folder) and not (real == folder and own):
            raise OutputExistsError(f"{folder}: contains {str(path)!r}, which this run reads; choose another path")
    if not own:
        found = listed(other_files(folder, own_files), 3)
        raise OutputExistsError(f"{folder}: is not {content} and contains {found}; choose another path")
    if not overwrite:
        raise OutputExistsError(
            f"{folder}: contains {content}; choose another path, or replace its {len(own)} files with "
            "overwrite=True (--overwrite)"
        )
