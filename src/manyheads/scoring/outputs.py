"""Where scored rows go: a folder of parts, or one file that is put together from them."""

from __future__ import annotations

import codecs
import glob
import os
import shutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from manyheads.data.tables.writing import FORMATS, check_output, write_pieces, write_table
from manyheads.errors import DataError, OutputError, OutputExistsError, listed, one_line
from manyheads.runtime.files import atomic_write, check_writable, temporary_files
from manyheads.runtime.locks import locked
from manyheads.scoring.journal import Journal
from manyheads.scoring.plan import Part

# Readers of folders of tables skip names that begin with "_".
_CONTROL = "_manyheads"


class Output(ABC):
    """A place for scored rows.

    Attributes:
        name: Its name in messages.
        folder: Where the parts are.
    """

    name: str
    folder: Path

    @abstractmethod
    def check(self, overwrite: bool) -> None:
        """Check, before any work is done, that rows can be written.

        Raises:
            OutputExistsError: something else is there, or the place is not writable.
            DataError: an ending that names no format.
        """

    @property
    def manifest(self) -> Path:
        """The file of the manifest."""
        return self.folder / _CONTROL / "manifest.json"

    @property
    def journal(self) -> Journal:
        """The records of complete parts."""
        return Journal(self.folder / _CONTROL / "parts.jsonl")

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the folder for this process alone, and delete what a killed one left unfinished.

        Raises:
            OutputError: another process holds it, or it cannot be written to.
        """
        control, is_new = self.folder / _CONTROL, not self.folder.exists()
        with ExitStack() as held:
            with self.writing():
                control.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(control / "lock", self.name))
                for abandoned in [*self._abandoned(), *temporary_files(control)]:
                    abandoned.unlink(missing_ok=True)
            try:
                yield
            finally:
                if not self.manifest.exists():  # nothing was begun
                    shutil.rmtree(self.folder if is_new else control, ignore_errors=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Name the output in the error of a file that cannot be written."""
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"{self.name}: cannot be written: {error.strerror or one_line(error)}; what is complete is kept: free "
                "space or permit it, and run the same again"
            ) from error

    def _abandoned(self) -> list[Path]:
        """Return the files that a killed process was writing."""
        return temporary_files(self.folder)

    def clear(self, parts: Sequence[Part], ending: str) -> None:
        """Delete these parts and their manifest."""
        with self.writing():
            for part in parts:
                self.path(part, ending).unlink(missing_ok=True)
            self.journal.keep({})
            self.manifest.unlink(missing_ok=True)

    def path(self, part: Part, ending: str) -> Path:
        """Return the file of a part."""
        return self.folder / f"{part.name}{ending}"

    def add(self, part: Part, rows: pa.Table, ending: str) -> int:
        """Write a part, atomically, and return the size of its file."""
        path = self.path(part, ending)
        with self.writing():
            atomic_write(path, lambda file: _write_part(rows, file, ending))
            return path.stat().st_size

    @abstractmethod
    def keeps(self, parts: Sequence[Part]) -> bool:
        """Return whether a killed run leaves parts that are worth keeping, and so must know whose they are."""

    @abstractmethod
    def part_ending(self, ending: str) -> str:
        """Return the format of the parts of a table with this ending."""

    @abstractmethod
    def finish(self, parts: Sequence[Part], ending: str, unused: Sequence[str]) -> None:
        """Make the output complete, all parts being there.

        Args:
            parts: All parts.
            ending: Their format.
            unused: Added columns that are null in every row.
        """


class FolderOutput(Output):
    """A folder with a file for each part, in the input's format.

    Args:
        folder: The folder; it is made if it is absent.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = str(folder), folder

    def check(self, overwrite: bool) -> None:
        """Check that the folder is absent, empty, or has scored parts, and is writable."""
        check_writable(self.folder / _CONTROL)
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputExistsError(f"{self.name}: is a file; choose another folder")
        if self.folder.exists() and any(self.folder.iterdir()) and not (self.folder / _CONTROL).exists():
            raise OutputExistsError(
                f"{self.name}: has files, but none that a scoring began; choose another folder, or an empty one"
            )

    def keeps(self, parts: Sequence[Part]) -> bool:
        """Return true: the parts are the result."""
        return True

    def part_ending(self, ending: str) -> str:
        """Return the ending of the input, if its format can be written."""
        return ending if ending in FORMATS else ".jsonl"

    def finish(self, parts: Sequence[Part], ending: str, unused: Sequence[str]) -> None:
        """Leave the parts as they are, so that all have the same columns."""


class _JoinedOutput(Output):
    """Parts in a hidden folder, put together at the end."""

    def part_ending(self, ending: str) -> str:
        """Return Arrow's own format, which keeps every type."""
        return ".arrow"

    def finish(self, parts: Sequence[Part], ending: str, unused: Sequence[str]) -> None:
        """Write all rows to one file, without the columns that are null in every row."""
        pieces = (_read_part(self.path(part, ending)).drop_columns(list(unused)) for part in parts)
        first = _read_part(self.path(parts[0], ending)).drop_columns(list(unused))
        with self.writing():
            self.join(pieces, first.schema)
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def join(self, pieces: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Write the rows of all parts."""


class FileOutput(_JoinedOutput):
    """One file; the parts are in a hidden folder beside it until all are complete.

    Args:
        path: A ``.csv``, ``.tsv``, ``.jsonl`` or ``.parquet`` file.
    """

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path
        self.folder = path.with_name(f".{path.name}.manyheads-parts")

    def keeps(self, parts: Sequence[Part]) -> bool:
        """Return whether some parts can be complete while others are not."""
        return len(parts) > 1

    def check(self, overwrite: bool) -> None:
        """Check the file's ending, and that it is absent or may be replaced."""
        check_output(self.name, overwrite)

    def _abandoned(self) -> list[Path]:
        """Return the files that a killed process was writing."""
        return super()._abandoned() + temporary_files(self._path.parent, glob.escape(self._path.name))

    def join(self, pieces: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Write the file, atomically."""
        atomic_write(self._path, lambda file: write_pieces(pieces, schema, file, self._path.suffix))


class StandardOutput(_JoinedOutput):
    """CSV on standard output.

    Args:
        folder: An empty folder for the parts.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.folder = "standard output", folder

    def keeps(self, parts: Sequence[Part]) -> bool:
        """Return false: the folder is gone after the run."""
        return False

    def check(self, overwrite: bool) -> None:
        """Accept it as it is."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Leave errors of a pipe as they are."""
        yield

    def join(self, pieces: Iterator[pa.Table], schema: pa.Schema) -> None:
        """Print the rows."""
        write_pieces(pieces, schema, _Text(), ".csv")


class _Text:
    """A binary file that prints its content on standard output."""

    closed = False

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def write(self, data: bytes) -> int:
        sys.stdout.write(self._decoder.decode(bytes(data)))
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def output_at(out: str | os.PathLike[str]) -> Output:
    """Return the output at a path: a file if its ending names a format, else a folder.

    Raises:
        DataError: another ending, or a URL.
    """
    text = os.fspath(out)
    if "://" in text:
        raise DataError(f"{text}: results are written to this machine only; give a folder, and copy it afterwards")
    path = Path(text)
    if text.endswith(("/", os.sep)) or path.is_dir() or not path.suffix:
        return FolderOutput(path)
    if path.suffix not in FORMATS:
        raise DataError(
            f"{text}: the ending names no format; use one of {listed(FORMATS)}, or end the name of a folder with '/'"
        )
    return FileOutput(path)


def _write_part(rows: pa.Table, file: Any, ending: str) -> None:
    if ending == ".arrow":
        with pa.ipc.new_file(file, rows.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_table(rows)
    else:
        write_table(rows, file, ending)


def _read_part(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file).read_all()
