"""Which rows are scored together, decided before the first is read and the same on every run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from manyheads.data.tables.streams.stream import Survey
from manyheads.errors import DataError

# The most rows of a part, and about the most bytes of its rows: both are in memory together.
_MOST_ROWS, _MOST_BYTES = 8192, 1 << 26


@dataclass(frozen=True)
class Part:
    """Some rows of one file.

    Attributes:
        file: The number of the file.
        number: The number of the part in the file.
        start: Its first row in the file, from 0.
        stop: The row after its last.
    """

    file: int
    number: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Its name; the names sort in the order of the rows."""
        return f"part-{self.file:05d}-{self.number:06d}"


def rows_of_part(survey: Survey) -> int:
    """Return how many rows of a file are scored together."""
    if not survey.rows:
        return _MOST_ROWS
    return max(1, min(_MOST_ROWS, _MOST_BYTES * survey.rows // max(survey.size, 1)))


def parts_of(file: int, rows: int, part_rows: int) -> list[Part]:
    """Return the parts of a file with so many rows."""
    starts = range(0, rows, part_rows)
    return [Part(file, number, start, min(start + part_rows, rows)) for number, start in enumerate(starts)]


def cut(pieces: Iterable[pa.Table], parts: Sequence[Part], name: str) -> Iterator[tuple[Part, pa.Table]]:
    """Yield parts with their rows.

    Args:
        pieces: The file's rows from the first row of the first part on, in tables of any size.
        parts: Some parts of one file, in order.
        name: The file's name, for messages.

    Raises:
        DataError: the file has fewer rows than it had.
    """
    rows, first = None, parts[0].start
    remaining = iter(pieces)
    for part in parts:
        while rows is None or first + rows.num_rows < part.stop:
            piece = next(remaining, None)
            if piece is None:
                raise DataError(f"{name}: has fewer rows than before; do not change it while it is scored")
            rows = piece if rows is None else pa.concat_tables([rows, piece])
            # Rows before the part are those of parts that are there already.
            skipped = min(max(0, part.start - first), rows.num_rows)
            rows, first = rows.slice(skipped), first + skipped
        yield part, rows.slice(part.start - first, part.stop - part.start).combine_chunks()
