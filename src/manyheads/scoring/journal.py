"""Which parts are complete: a line for each, written after its file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from manyheads.runtime.files import atomic_write


@dataclass(frozen=True)
class PartRecord:
    """A complete part.

    Attributes:
        part: Its name.
        rows: Number of rows.
        bytes: The size of its file.
        empty: Texts that were empty.
        truncated: Texts that were truncated.
        split: Texts that were read in several windows.
        errors: Rows with an error.
        first_errors: A few of them: the row in its file, from 1, and the error.
    """

    part: str
    rows: int
    bytes: int
    empty: int
    truncated: int
    split: int
    errors: int
    first_errors: list[tuple[int, str]]


class Journal:
    """The records of complete parts, in a file that survives a kill at any moment.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, PartRecord]:
        """Return the records by part. A line that was not written to its end is left out."""
        return {record.part: record for record in self._lines()}

    def keep(self, records: dict[str, PartRecord]) -> None:
        """Replace all records, atomically."""
        atomic_write(self._path, "".join(map(_line, records.values())))

    def add(self, record: PartRecord) -> None:
        """Add the record of a part whose file is complete."""
        with self._path.open("ab") as file:
            file.write(_line(record).encode())
            file.flush()
            os.fsync(file.fileno())

    def _lines(self) -> Iterator[PartRecord]:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines():
            try:
                yield PartRecord(**json.loads(line))
            except (ValueError, TypeError):
                return


def _line(record: PartRecord) -> str:
    return json.dumps(asdict(record)) + "\n"
