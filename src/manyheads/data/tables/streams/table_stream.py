"""Tables in memory, and files that are read whole, in the form of a stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from manyheads.data.tables.streams.conform import conformed
from manyheads.data.tables.streams.stream import ERROR_COLUMN, PIECE_ROWS, Survey, TableStream
from manyheads.data.tables.table import Table
from manyheads.data.texts.texts import text_problem


class MemoryStream(TableStream):
    """A table in memory.

    Args:
        table: The table.
        ending: The format that its scored rows are written in.
    """

    def __init__(self, table: Table, ending: str = ".parquet") -> None:
        self.name, self.ending = table.name, ending
        self._table = table

    @cached_property
    def identity(self) -> str:  # type: ignore[override]
        """A digest of all cells."""
        sink = _Digest()
        with pa.ipc.new_stream(pa.PythonFile(sink, "w"), self._cells.schema) as writer:
            writer.write_table(self._cells)
        return sink.digest.hexdigest()[:32]

    def survey(self) -> Survey:
        """Return the table's facts."""
        return Survey(self._table.rows, self._cells.nbytes, self._cells.schema.remove_metadata())

    def pieces(
        self, reading: Mapping[str, Any], schema: pa.Schema, start: int, text: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Yield the rows from one row on; see ``TableStream``."""
        # Arrow writes cells of mixed types as text, so the types of texts are checked before.
        texts = {name: self._table.values(name) for name in text}
        for first in range(start, self._table.rows, PIECE_ROWS):
            piece = conformed(self._cells.slice(first, PIECE_ROWS), schema, (), self.name)
            errors = piece.column(ERROR_COLUMN).to_pylist()
            for name, cells in texts.items():
                for row, cell in enumerate(cells[first : first + len(errors)]):
                    errors[row] = errors[row] or text_problem(cell, name)
            yield piece.set_column(piece.num_columns - 1, ERROR_COLUMN, pa.array(errors, pa.string()))

    @cached_property
    def _cells(self) -> pa.Table:
        return self._table.to_arrow()


class _Digest:
    """A file that keeps only the digest of what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...
