"""CSV and TSV: bytes to columns of strings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from manyheads.data.tables.plain_text import check_plain, not_utf8
from manyheads.data.tables.quoting import BACKSLASH, LITERAL, STANDARD, find_quoting
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
    if not_utf8(data, name) is not None and b'"' in data:
        raise not_utf8(data, name) or DataError(f"{name} must be UTF-8")
    quoting = find_quoting(data, name, delimiter, header, len(columns))
    return _without_unnamed(_parse(data, name, columns, delimiter, quoting))


def _without_unnamed(table: pa.Table) -> pa.Table:
    """Return a table with names without spaces at their ends, and without empty columns that have no name."""
    names = [name.strip() for name in table.column_names]
    kept = [at for at, name in enumerate(names) if name or table.column(at).null_count < table.num_rows]
    kept_names = [names[at] for at in kept]
    if len(set(kept_names)) < len(kept_names):
        kept_names = [table.column_names[at] for at in kept]
    return table.select(kept).rename_columns(kept_names) if table.num_rows else table


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
        raise DataError(f"{name}: a quote in the header is never closed; close it, or double it inside a quoted cell")
    raise EmptyTableError(f"{name} is empty; it needs a header line and at least one row")


def _outside_quotes(record: str) -> str:
    return "".join(record.split('"')[::2])


def _cells(record: str, delimiter: str, name: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise DataError(f"{name}: the header line cannot be read: {error}; check that this is a CSV file") from None


def _parse(data: bytes, name: str, columns: Sequence[str], delimiter: str, quoting: str) -> pa.Table:
    try:
        return pa_csv.read_csv(
            pa.py_buffer(data),
            # One block, since no quoted cell may straddle two; one thread, since only then are rows numbered.
            pa_csv.ReadOptions(use_threads=False, block_size=min(len(data), _LARGEST_BLOCK)),
            pa_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=quoting != LITERAL,
                quote_char=False if quoting == LITERAL else '"',
                double_quote=quoting == STANDARD,
                escape_char="\\" if quoting == BACKSLASH else False,
            ),
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
        raise _width_error(data, name, delimiter, str(error)) from None


def _width_error(data: bytes, name: str, delimiter: str, reason: str) -> DataError:
    if encoding := not_utf8(data, name):
        return encoding
    uneven = _UNEVEN.search(reason)
    if not uneven:
        return DataError(f"{name} cannot be read as CSV: {' '.join(reason.split())[:200]}")
    row, expected, found, text = uneven.groups()
    return DataError(
        f"{name}, row {int(row) - 1}: has {found} cells, but the header {expected}, in {text[:60]!r}; put a cell that "
        f"contains {delimiter!r} or a line break in double quotes"
    )
