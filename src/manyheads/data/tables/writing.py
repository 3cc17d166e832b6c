"""Write tables: CSV, TSV, JSON Lines or Parquet by the file's ending."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from manyheads.errors import DataError, listed, one_line
from manyheads.runtime.files import atomic_write, check_new_file


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
        _write_csv(table, buffer)
        sys.stdout.write(buffer.getvalue().decode("utf-8"))
        return
    try:
        atomic_write(Path(out), lambda file: _WRITERS[Path(out).suffix](table, file))
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {one_line(error)}; choose another path") from error


def _write_csv(table: pa.Table, file: Any) -> None:
    pa_csv.write_csv(_flat(table), file)


def _write_tsv(table: pa.Table, file: Any) -> None:
    pa_csv.write_csv(_flat(table), file, pa_csv.WriteOptions(delimiter="\t"))


def _write_json_lines(table: pa.Table, file: Any) -> None:
    for row in table.to_pylist():
        file.write((json.dumps(row, ensure_ascii=False, default=str) + "\n").encode("utf-8"))


def _flat(table: pa.Table) -> pa.Table:
    """Return the table with lists as JSON text, the form in which a label cell is read back."""
    for place, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):
            cells = [
                None if cell is None else json.dumps(cell, ensure_ascii=False, default=str)
                for cell in table.column(place).to_pylist()
            ]
            table = table.set_column(place, field.name, pa.array(cells, pa.string()))
    return table


_WRITERS: dict[str, Callable[[pa.Table, Any], None]] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_json_lines,
    ".parquet": lambda table, file: pq.write_table(table, file),
}
