"""Parquet in pieces: batches of its row groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manyheads.data.tables.streams.conform import conformed
from manyheads.data.tables.streams.files import File
from manyheads.data.tables.streams.stream import PIECE_ROWS, Survey, TableStream
from manyheads.data.tables.table import checked_names
from manyheads.errors import DataError, EmptyTableError, one_line


class ParquetStream(TableStream):
    """A Parquet file."""

    def __init__(self, file: File) -> None:
        self.name, self.identity, self.ending = file.name, file.identity, file.ending
        self._file = file

    def survey(self) -> Survey:
        """Return the facts in the file's footer."""
        with self._file.opened_anywhere() as file:
            metadata, schema = self._read(lambda: _facts(file))
        checked_names(self.name, schema.names)
        if not schema.names:
            raise EmptyTableError(f"{self.name} has no columns; it needs at least one")
        size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        return Survey(metadata.num_rows, size, schema.remove_metadata())

    def pieces(
        self, reading: Mapping[str, Any], schema: pa.Schema, start: int, text: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Yield the rows from one row on; see ``TableStream``."""
        with self._file.opened_anywhere() as file:
            parquet = self._read(lambda: _opened(file))
            groups, skipped = _groups_from(parquet.metadata, start)
            batches = parquet.iter_batches(PIECE_ROWS, row_groups=groups, use_threads=False)
            while (batch := self._read(lambda: next(batches, None))) is not None:
                piece = pa.Table.from_batches([batch]).slice(skipped)
                skipped = max(0, skipped - batch.num_rows)
                if piece.num_rows:
                    yield conformed(piece, schema, text, self.name)

    def _read(self, read: Any) -> Any:
        try:
            return read()
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{self.name}: cannot be read as Parquet; it may be truncated: {one_line(error)}; "
                "write or copy it again"
            ) from None


def _opened(file: Any) -> pq.ParquetFile:
    # Without a buffer, whole column chunks of a row group would be in memory.
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)


def _facts(file: Any) -> tuple[Any, pa.Schema]:
    parquet = _opened(file)
    return parquet.metadata, parquet.schema_arrow


def _groups_from(metadata: Any, start: int) -> tuple[list[int], int]:
    """Return the row groups from the one with a row on, and the rows before that row in it."""
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if start < rows:
            return list(range(group, metadata.num_row_groups)), start
        start -= rows
    return [], 0
