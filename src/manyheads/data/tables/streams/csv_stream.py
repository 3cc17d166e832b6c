"""CSV and TSV in pieces: every cell a string, and a row that cannot be read an error of that row alone."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from manyheads.data.tables.arrays import arrow_array
from manyheads.data.tables.csv_table import DELIMITERS, header_cells, header_record, named_columns
from manyheads.data.tables.plain_text import is_broken, not_utf8
from manyheads.data.tables.quoting import BACKSLASH, LITERAL, STANDARD, find_quoting, unlimited_fields
from manyheads.data.tables.streams.files import File
from manyheads.data.tables.streams.lines import repaired, text_lines
from manyheads.data.tables.streams.stream import PIECE_ROWS, Survey, TableStream, with_errors
from manyheads.data.tables.table import checked_names
from manyheads.errors import DataError, one_line

Record = list[str]


@dataclass(frozen=True)
class _Dialect:
    """How a file is divided into cells; ``columns`` are the places of those that are kept."""

    delimiter: str
    quoting: str
    width: int
    columns: Mapping[int, str]

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of ``csv.reader``."""
        return {
            "delimiter": self.delimiter,
            "quoting": csv.QUOTE_NONE if self.quoting == LITERAL else csv.QUOTE_MINIMAL,
            "doublequote": self.quoting == STANDARD,
            "escapechar": "\\" if self.quoting == BACKSLASH else None,
        }

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        columns = [[place, name] for place, name in self.columns.items()]
        return {"delimiter": self.delimiter, "quoting": self.quoting, "width": self.width, "columns": columns}

    @classmethod
    def from_json(cls, reading: Mapping[str, Any]) -> _Dialect:
        """Return the dialect that ``to_json`` wrote."""
        return cls(reading["delimiter"], reading["quoting"], reading["width"], dict(reading["columns"]))


class CsvStream(TableStream):
    """A CSV or TSV file.

    Args:
        file: The file.
        delimiters: Those it may use.
    """

    def __init__(self, file: File, delimiters: Sequence[str] = DELIMITERS) -> None:
        self.name, self.identity, self.ending = file.name, file.identity, file.ending
        self._file = file
        self._delimiters = delimiters

    def survey(self) -> Survey:
        """Return the facts about the file, from the first line to the last.

        Raises:
            EmptyTableError: no header.
            DataError: quotes that can be read in no way, or a header that cannot be read.
        """
        with self._file.opened() as file:
            header = header_record(text_lines(file, self.name), self.name)
        if is_broken(header):
            data = header.encode("utf-8", "surrogateescape")
            raise not_utf8(data, self.name) or DataError(f"{self.name} must be UTF-8")
        delimiter, names = header_cells(header, self._delimiters, self.name)
        quoting = find_quoting(self._lines, self.name, delimiter, header, len(names))
        rows, size, filled = self._counted(_Dialect(delimiter, quoting, len(names), {}))
        columns = named_columns(names, filled.__contains__)
        schema = pa.schema([(name, pa.string()) for name in checked_names(self.name, list(columns.values()))])
        return Survey(rows, size, schema, _Dialect(delimiter, quoting, len(names), columns).to_json())

    def pieces(
        self, reading: Mapping[str, Any], schema: pa.Schema, start: int, text: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Yield the rows from one row on; see ``TableStream``."""
        dialect = _Dialect.from_json(reading)
        places = {name: place for place, name in dialect.columns.items()}
        records = itertools.islice(self._records(dialect), start, None)
        while some := list(itertools.islice(records, PIECE_ROWS)):
            errors = [_problem(record, dialect) for record in some]
            for row, error in enumerate(errors):
                if error is not None:
                    some[row] = _as_wide(some[row], dialect.width)
            cells = list(zip(*some, strict=True))
            columns = [
                arrow_array([cell or None for cell in cells[places[name]]], pa.string()) for name in schema.names
            ]
            yield with_errors(columns, schema, errors)

    def _lines(self) -> Iterator[str]:
        with self._file.opened() as file:
            yield from text_lines(file, self.name)

    def _records(self, dialect: _Dialect) -> Iterator[Record]:
        """Yield the rows after the header; an empty line is none."""
        with unlimited_fields():
            try:
                records = (record for record in csv.reader(self._lines(), **dialect.settings) if record)
                yield from itertools.islice(records, 1, None)
            except csv.Error as error:
                raise DataError(f"{self.name}: cannot be read as CSV: {one_line(error)}") from None

    def _counted(self, dialect: _Dialect) -> tuple[int, int, set[int]]:
        """Return the rows, their characters, and the places of the columns with any cell that is not empty."""
        rows, size, filled = 0, 0, set[int]()
        for record in self._records(dialect):
            rows, size = rows + 1, size + sum(map(len, record))
            if len(filled) < dialect.width:
                filled.update(place for place, cell in enumerate(record[: dialect.width]) if cell)
        return rows, size, filled


def _problem(record: Record, dialect: _Dialect) -> str | None:
    if len(record) != dialect.width:
        return (
            f"the row has {len(record)} cells, but the header {dialect.width}; put a cell that contains "
            f"{dialect.delimiter!r} or a line break in double quotes"
        )
    joined = "".join(record)
    if not is_broken(joined):
        return None
    byte = next(character for character in joined if "\udc80" <= character <= "\udcff")
    return f"the row is not UTF-8, it contains the byte 0x{ord(byte) - 0xDC00:02x}; save the file as UTF-8"


def _as_wide(record: Record, width: int) -> Record:
    """Return a row that cannot be read with so many cells, as text."""
    cells = [repaired(cell) for cell in record[:width]]
    return cells + [""] * (width - len(cells))
