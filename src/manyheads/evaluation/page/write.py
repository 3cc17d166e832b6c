"""Write a page to a file."""

from __future__ import annotations

from pathlib import Path

from manyheads.errors import DataError, one_line
from manyheads.runtime.files import atomic_write, check_new_file


def check_page(path: str | Path, overwrite: bool) -> None:
    """Check, before any work is done, that a page can be written to a path; raises what ``check_new_file`` raises."""
    check_new_file(Path(path), overwrite)


def write_page(page: str, path: str | Path) -> None:
    """Write a page to a file, whole or not at all.

    Raises:
        DataError: the file cannot be written, for lack of space for example.
    """
    try:
        atomic_write(Path(path), page)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {one_line(error)}; choose another path") from error
