"""What a table that is read in pieces offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from manyheads.data.tables.arrays import arrow_array

# The last column of every piece: why a row cannot be read, null for the others.
ERROR_COLUMN = "error"
# Rows of a piece.
PIECE_ROWS = 4096


@dataclass(frozen=True)
class Survey:
    """Facts about a whole table, found before its rows are read.

    Attributes:
        rows: Number of rows, unreadable ones too.
        size: Bytes of all rows, about.
        schema: Column names and types.
        reading: How it is read, as plain JSON, so that it need not be found again.
    """

    rows: int
    size: int
    schema: pa.Schema
    reading: Mapping[str, Any] = field(default_factory=dict)


class TableStream(ABC):
    """A table that is read from its start to its end as often as needed.

    Attributes:
        name: Its name in messages.
        identity: Changes when the table changes.
        ending: The format of its file, such as ``".csv"``.
    """

    name: str
    identity: str
    ending: str

    @abstractmethod
    def survey(self) -> Survey:
        """Return the facts about the table; reads all of it where its format has no index.

        Raises:
            DataError: it cannot be read, or has no columns.
        """

    @abstractmethod
    def pieces(
        self, reading: Mapping[str, Any], schema: pa.Schema, start: int, text: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Yield the rows from one row on, as tables with the columns of the schema and ``ERROR_COLUMN``.

        Args:
            reading: As the survey found it.
            schema: Columns and types; may be wider than the survey's.
            start: The first row, counted from 0.
            text: The columns that are read as texts: a cell of another type there is an error of its row.

        Raises:
            DataError: the table cannot be read any further.
        """


def with_errors(columns: Sequence[pa.Array], schema: pa.Schema, errors: Sequence[str | None]) -> pa.Table:
    """Return a piece of its columns and errors."""
    return pa.table([*columns, arrow_array(errors, pa.string())], with_error_column(schema))


def with_error_column(schema: pa.Schema) -> pa.Schema:
    """Return the schema of a table's pieces."""
    return schema.append(pa.field(ERROR_COLUMN, pa.string()))
