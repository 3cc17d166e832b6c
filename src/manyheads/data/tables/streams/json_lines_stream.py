"""JSON Lines in pieces: a line that is no object is an error of its row alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from manyheads.data.tables.cells import plain_cell
from manyheads.data.tables.json_lines import parse_line
from manyheads.data.tables.json_table import ACCEPTED, full_export, is_annotated, is_full_export, warn_left_out
from manyheads.data.tables.streams.files import File
from manyheads.data.tables.streams.json_types import TypeOfCells, array_of
from manyheads.data.tables.streams.lines import byte_lines
from manyheads.data.tables.streams.stream import PIECE_ROWS, Survey, TableStream, with_errors
from manyheads.data.tables.table import checked_names
from manyheads.data.texts.texts import text_problem
from manyheads.errors import DataError, EmptyTableError

Row = dict[str, object]


class JsonLinesStream(TableStream):
    """A file of JSON lines."""

    def __init__(self, file: File) -> None:
        self.name, self.identity, self.ending = file.name, file.identity, file.ending
        self._file = file

    def survey(self) -> Survey:
        """Return the facts about the file, from the first line to the last.

        Raises:
            EmptyTableError: no line.
            DataError: no line is an object.
        """
        types: dict[str, TypeOfCells] = {}
        rows, readable, answers, exports, size = 0, 0, 0, 0, 0
        first_error = None
        for lines in self._some(self._lines()):
            parsed = [_parsed(line) for line in lines]
            good = [row for row, _ in parsed if row is not None]
            first_error = first_error or next((error for _, error in parsed if error), None)
            _take_in(types, good)
            rows, readable, size = rows + len(lines), readable + len(good), size + sum(map(len, lines))
            answers += sum(map(is_annotated, good))
            exports += sum(map(is_full_export, good))
        if not rows:
            raise EmptyTableError(f"{self.name} is empty; it needs at least one row")
        if not readable:
            raise DataError(f"{self.name}: has no line that can be read; the first one: {first_error}")
        if exports == readable:
            raise full_export(self.name)
        checked_names(self.name, list(types))
        return self._surveyed(rows, size, types, annotated=answers == readable)

    def pieces(
        self, reading: Mapping[str, Any], schema: pa.Schema, start: int, text: Sequence[str]
    ) -> Iterator[pa.Table]:
        """Yield the rows from one row on; see ``TableStream``."""
        lines = self._accepted() if reading["annotated"] else self._lines()
        for some in self._some(itertools.islice(lines, start, None)):
            parsed = [_parsed(line) for line in some]
            rows = [row or {} for row, _ in parsed]
            columns = [array_of([row.get(name) for row in rows], schema.field(name).type) for name in schema.names]
            errors = [error or _text_problem(row or {}, text) for row, error in parsed]
            yield with_errors(columns, schema, errors)

    def _surveyed(self, rows: int, size: int, types: Mapping[str, TypeOfCells], annotated: bool) -> Survey:
        if annotated:
            accepted = sum(1 for _ in self._accepted())
            warn_left_out(self.name, rows - accepted)
            rows = accepted
        schema = pa.schema([(name, found.type) for name, found in types.items()])
        return Survey(rows, size, schema, {"annotated": annotated})

    def _lines(self) -> Iterator[bytes]:
        with self._file.opened() as file:
            yield from (line for line in byte_lines(file, self.name) if line.strip())

    def _accepted(self) -> Iterator[bytes]:
        """Yield the lines that an annotator of Prodigy accepted, and those that cannot be read."""
        for line in self._lines():
            row, _ = _parsed(line)
            if row is None or row.get("answer") == ACCEPTED:
                yield line

    @staticmethod
    def _some(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
        while some := list(itertools.islice(lines, PIECE_ROWS)):
            yield some


def _parsed(line: bytes) -> tuple[Row | None, str | None]:
    """Return the object of a line, or why there is none."""
    try:
        return parse_line(line), None
    except ValueError as error:
        return None, str(error)


def _take_in(types: dict[str, TypeOfCells], rows: Sequence[Row]) -> None:
    for key in dict.fromkeys(key for row in rows for key in row):
        types.setdefault(key, TypeOfCells()).add([plain_cell(row.get(key)) for row in rows])


def _text_problem(row: Row, text: Sequence[str]) -> str | None:
    return next((problem for name in text if (problem := text_problem(row.get(name), name))), None)
