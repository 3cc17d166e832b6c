"""CSV and TSV: bytes to columns of strings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from manyheads.data.tables.plain_text import check_plain, not_utf8
from manyheads.errors import DataError, EmptyTableError

_DELIMITERS = (",", ";", "\t")
_LARGEST_BLOCK = 2**31 - 1
# Arrow's messages; its handler of invalid rows fails if they are not UTF-8.
_UNEVEN = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)


def parse_csv(data: bytes, name: str, delimiters: Sequence[str] = _DELIMITERS) -> pa.Table:
    """Return a CSV file's columns, every one as strings; an empty cell is null, and nothing else is.

    Args:
        data: The file, UTF-8 with or without a byte-order mark.
        name: The table's name, for messages.
        delimiters: Those it may use; the one most frequent in the header, outside quotes, is taken.

    Raises:
        EmptyTableError: no header.
        DataError: another encoding, a row of another width, a quote that is never closed.
    """
    check_plain(data, name)
    header = _header(data, name)
    delimiter = max(delimiters, key=_outside_quotes(header).count)
    columns = _cells(header, delimiter, name)
    table = _parse(data, name, columns, delimiter)
    _check_last_quote(data, name, table)
    return table


def _header(data: bytes, name: str) -> str:
    """Return the first record that is not an empty line; a quoted name may span lines."""
    record = ""
    try:
        for line in io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""):
            record += line
            if record.strip("\r\n") and record.count('"') % 2 == 0:
                return record.strip("\r\n")
            record = record.lstrip("\r\n")
    except UnicodeDecodeError:
        raise not_utf8(data, name) or DataError(f"{name} must be UTF-8") from None
    if record:
        raise DataError(f"{name}: a quote in the header is never closed. Close it, or double it inside a quoted cell.")
    raise EmptyTableError(f"{name} is empty. It needs a header line and at least one row.")


def _outside_quotes(record: str) -> str:
    return "".join(record.split('"')[::2])


def _cells(record: str, delimiter: str, name: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise DataError(f"{name}: the header line cannot be read: {error}. Is this a CSV file?") from None


def _parse(data: bytes, name: str, columns: Sequence[str], delimiter: str) -> pa.Table:
    try:
        return pa_csv.read_csv(
            pa.py_buffer(data),
            # One block, since no quoted cell may straddle two; one thread, since only then are rows numbered.
            pa_csv.ReadOptions(use_threads=False, block_size=min(len(data), _LARGEST_BLOCK)),
            pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        # A header without a newline after it is too short for Arrow.
        if "Empty CSV" in str(error):
            return pa.table({column: pa.array([], pa.string()) for column in columns})
        raise _refusal(data, name, delimiter, str(error)) from None


def _refusal(data: bytes, name: str, delimiter: str, reason: str) -> DataError:
    if encoding := not_utf8(data, name):
        return encoding
    uneven = _UNEVEN.search(reason)
    if not uneven:
        return DataError(f"{name} cannot be read as CSV: {' '.join(reason.split())[:200]}")
    row, expected, found, text = uneven.groups()
    return DataError(
        f"{name}, row {int(row) - 1}: has {found} cells, but the header {expected}, in {text[:60]!r}. "
        f"Put a cell that holds {delimiter!r} or a line break in double quotes."
    )


def _check_last_quote(data: bytes, name: str, table: pa.Table) -> None:
    """Raise for a quote that is never closed, since its cell contains the rest of the file."""
    if not table.num_rows or not table.num_columns:
        return
    last = table.column(table.num_columns - 1)[-1].as_py()
    if last and data.endswith(b'"' + last.replace('"', '""').encode()):
        line = data.count(b"\n", 0, len(data) - len(last.encode())) + 1
        raise DataError(
            f"{name}, row {table.num_rows}: the quote in line {line} is never closed, so the rest of the "
            "file is one cell. Close it, or double a quote that belongs to the text, inside a quoted cell."
        )
