"""Read an uploaded table."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from manyheads.data.tables.arrays import arrow_array
from manyheads.data.tables.columns import ArrowColumn
from manyheads.data.tables.csv_table import DELIMITERS
from manyheads.data.tables.streams.csv_stream import CsvStream
from manyheads.data.tables.streams.files import File
from manyheads.data.tables.streams.stream import ERROR_COLUMN, PIECE_ROWS
from manyheads.data.texts.texts import are_listed_words
from manyheads.errors import EmptyTableError, listed
from manyheads.scoring.row_answers import check_names, check_text_columns
from manyheads.server.http.errors import RequestError

NAME = "The table"
TSV = "text/tab-separated-values"
CSV = "text/csv"
_MOST_COLUMNS = 1000


@dataclass(frozen=True)
class _Uploaded(File):
    """The bytes of an upload, as a file."""

    data: bytes
    name = NAME
    identity = ""

    def _open(self) -> Any:
        return io.BytesIO(self.data)


def read_upload(data: bytes, content_type: str, max_rows: int) -> pa.Table:
    """Read a table, every cell a string.

    Args:
        data: CSV or TSV.
        content_type: ``"text/csv"``, whose cells are divided by commas, semicolons or tabs, or
            ``"text/tab-separated-values"``.
        max_rows: Most rows.

    Returns:
        The rows, with ``ERROR_COLUMN`` as the last column: why a row cannot be read.

    Raises:
        DataError: it cannot be read, has no rows, or has a column that is named as one of those that are added.
        RequestError: it has too many rows or columns.
    """
    delimiters = ("\t",) if content_type == TSV else DELIMITERS
    _check_columns(data, delimiters)
    stream = CsvStream(_Uploaded(data), delimiters)
    survey = stream.survey()
    if survey.rows > max_rows:
        message = f"{NAME} has {survey.rows:,} rows, at most {max_rows:,} are allowed; split it into several"
        raise RequestError(413, "too_large", message)
    check_names(survey.schema.names, (), NAME)
    if not survey.rows:
        raise EmptyTableError(
            f"{NAME} has no rows, only the columns {listed(survey.schema.names)}; it needs at least one"
        )
    return pa.concat_tables(stream.pieces(survey.reading, survey.schema, 0, ()))


def without_long_texts(rows: pa.Table, text: Sequence[str], max_characters: int) -> pa.Table:
    """Return a table in which a row with a text that is too long has an error.

    Args:
        rows: A table as ``read_upload`` returns it.
        text: The columns of texts.
        max_characters: Most characters of the texts of a row.

    Raises:
        MissingColumnError: there is no such column.
    """
    check_text_columns(rows.column_names[:-1], text, NAME)
    sizes = zip(*(map(_length, rows.column(name).to_pylist()) for name in text), strict=True)
    errors = rows.column(ERROR_COLUMN).to_pylist()
    for row, characters in enumerate(map(sum, sizes)):
        if characters > max_characters and errors[row] is None:
            errors[row] = f"the text has {characters:,} characters, at most {max_characters:,} are allowed; shorten it"
    return rows.set_column(rows.num_columns - 1, ERROR_COLUMN, arrow_array(errors, pa.string()))


def has_listed_words(rows: pa.Table, text: Sequence[str]) -> bool:
    """Return whether the texts are lists of words written as text, by the first rows, as ``score_table`` decides it."""
    return len(text) == 1 and are_listed_words(ArrowColumn(rows.column(text[0]).slice(0, PIECE_ROWS)).values())


def _check_columns(data: bytes, delimiters: Sequence[str]) -> None:
    """Check the first line before the table is read: many columns take long, whatever is in them."""
    header = data[: re.search(rb"[\r\n]|$", data).start()]  # type: ignore[union-attr]
    columns = 1 + max(header.count(delimiter.encode()) for delimiter in delimiters)
    if columns > _MOST_COLUMNS:
        message = f"{NAME} has {columns:,} columns, at most {_MOST_COLUMNS:,} are allowed; leave some out"
        raise RequestError(413, "too_large", message)


def _length(cell: str | None) -> int:
    return 0 if cell is None else len(cell)
