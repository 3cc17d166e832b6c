"""Write tables: CSV, TSV, JSON Lines or Parquet by the file's ending."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from manyheads.errors import DataError, listed, one_line
from manyheads.runtime.files import atomic_write, check_new_file

Pieces = Iterable[pa.Table]


def check_output(out: str, overwrite: bool) -> None:
    """Check, before any work is done, that a table can be written to a path.

    Raises:
        DataError: an ending that names no format, or a folder that does not exist.
        OutputExistsError: as ``check_new_file``.
    """
    if out == "-":
        return
    path = Path(out)
    if path.suffix not in _WRITERS:
        raise DataError(f"{out}: the ending names no format; use one of {listed(_WRITERS)}")
    check_new_file(path, overwrite)


def write_output(table: pa.Table, out: str) -> None:
    """Write a table: to standard output as CSV for ``-``, else atomically to a file.

    Raises:
        DataError: the file cannot be written, for lack of space for example.
    """
    if out == "-":
        buffer = io.BytesIO()
        write_table(table, buffer, ".csv")
        sys.stdout.write(buffer.getvalue().decode("utf-8"))
        return
    try:
        atomic_write(Path(out), lambda file: write_table(table, file, Path(out).suffix))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {one_line(error)}; choose another path") from error


def write_table(table: pa.Table, file: Any, ending: str) -> None:
    """Write a table to an open binary file, in the format of an ending."""
    write_pieces([table], table.schema, file, ending)


def write_pieces(pieces: Iterable[pa.Table], schema: pa.Schema, file: Any, ending: str) -> None:
    """Write a table that comes in pieces, as one file.

    Args:
        pieces: Tables with the columns of the schema.
        schema: Names and types.
        file: An open binary file.
        ending: The format, such as ``".csv"``.
    """
    _WRITERS[ending](pieces, schema, file)


def _write_csv(pieces: Pieces, schema: pa.Schema, file: Any) -> None:
    _write_delimited(pieces, schema, file, ",")


def _write_tsv(pieces: Pieces, schema: pa.Schema, file: Any) -> None:
    _write_delimited(pieces, schema, file, "\t")


def _write_delimited(pieces: Pieces, schema: pa.Schema, file: Any, delimiter: str) -> None:
    flat = pa.schema([(field.name, pa.string() if pa.types.is_nested(field.type) else field.type) for field in schema])
    with pa_csv.CSVWriter(file, flat, write_options=pa_csv.WriteOptions(delimiter=delimiter)) as writer:
        for piece in pieces:
            writer.write_table(flat_table(piece))


def _write_json_lines(pieces: Pieces, schema: pa.Schema, file: Any) -> None:
    for piece in pieces:
        for row in piece.to_pylist():
            file.write((json.dumps(row, ensure_ascii=False, default=str) + "\n").encode("utf-8"))


def _write_parquet(pieces: Pieces, schema: pa.Schema, file: Any) -> None:
    with pq.ParquetWriter(file, schema) as writer:
        for piece in pieces:
            writer.write_table(piece)


def flat_table(table: pa.Table) -> pa.Table:
    """Return the table with lists as JSON text, the form in which a label cell is read back."""
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            cells = [
                None if cell is None else json.dumps(cell, ensure_ascii=False, default=str)
                for cell in table.column(place).to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(cells, pa.string()))
    return table


_WRITERS: dict[str, Callable[[Pieces, pa.Schema, Any], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_json_lines,
    ".parquet": _write_parquet,
}
FORMATS = tuple(_WRITERS)
