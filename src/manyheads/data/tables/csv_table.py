"""CSV and TSV: bytes to columns of strings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.csv as pa_csv

from manyheads.data.tables.plain_text import check_plain, not_utf8
from manyheads.data.tables.quoting import BACKSLASH, LITERAL, STANDARD, find_quoting
from manyheads.errors import DataError, EmptyTableError

DELIMITERS = (",", ";", "\t")
_LARGEST_BLOCK = 2**31 - 1
# Arrow's messages; its handler of invalid rows fails if they are not UTF-8.
_UNEVEN = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+): (.*)", re.DOTALL)


def parse_csv(data: bytes, name: str, delimiters: Sequence[str] = DELIMITERS) -> pa.Table:
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
    try:
        header = header_record(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline=""), name)
    except UnicodeDecodeError:
        raise not_utf8(data, name) or DataError(f"{name} must be UTF-8") from None
    delimiter, columns = header_cells(header, delimiters, name)
    quoting = _quoting(data, name, delimiter, header, len(columns)) if b'"' in data else STANDARD
    return _without_unnamed(_parse(data, name, columns, delimiter, quoting))


def _without_unnamed(table: pa.Table) -> pa.Table:
    """Return a table with names without spaces at their ends, and without empty columns that have no name."""
    kept = named_columns(table.column_names, lambda at: table.column(at).null_count < table.num_rows)
    return table.select(list(kept)).rename_columns(list(kept.values())) if table.num_rows else table


def named_columns(names: Sequence[str], is_filled: Callable[[int], bool]) -> dict[int, str]:
    """Return the columns to keep, place -> name: without spaces at its ends, unless two names would then be equal.

    Args:
        names: All names of the header.
        is_filled: Returns whether the column at a place has any cell that is not empty: one without a name and without
            cells is left out.
    """
    kept = {at: name.strip() for at, name in enumerate(names) if name.strip() or is_filled(at)}
    return kept if len(set(kept.values())) == len(kept) else {at: names[at] for at in kept}


def header_record(lines: Iterable[str], name: str) -> str:
    """Return the first record that is not an empty line; a quoted name may span lines.

    Args:
        lines: The file's lines with their ends.
        name: The table's name, for messages.

    Raises:
        EmptyTableError: no such line.
        DataError: a quote that is never closed.
    """
    record = ""
    for line in lines:
        record += line
        if record.strip("\r\n") and record.count('"') % 2 == 0:
            return record.strip("\r\n")
        record = record.lstrip("\r\n")
    if record:
        raise DataError(f"{name}: a quote in the header is never closed; close it, or double it inside a quoted cell")
    raise EmptyTableError(f"{name} is empty; it needs a header line and at least one row")


def header_cells(record: str, delimiters: Sequence[str], name: str) -> tuple[str, list[str]]:
    """Return a file's delimiter, the most frequent one in its header, and the names in the header.

    Raises:
        DataError: a header that is no CSV.
    """
    delimiter = max(delimiters, key=_outside_quotes(record).count)
    return delimiter, _cells(record, delimiter, name)


def _quoting(data: bytes, name: str, delimiter: str, header: str, width: int) -> str:
    text = data.decode("utf-8-sig", "replace")
    if problem := not_utf8(data, name):
        raise problem
    return find_quoting(lambda: io.StringIO(text, newline=""), name, delimiter, header, width)


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
