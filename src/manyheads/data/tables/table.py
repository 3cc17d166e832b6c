"""Tables of any origin, read into one value."""

from __future__ import annotations

import difflib
import glob
import gzip
import io
import os
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manyheads.data.tables.columns import Column, list_column, row_indices
from manyheads.data.tables.csv_table import parse_csv
from manyheads.data.tables.json_lines import parse_json_lines
from manyheads.data.tables.json_table import accepted_rows, parse_json
from manyheads.data.tables.objects import (
    NamedColumns,
    arrow_columns,
    dataset_columns,
    is_from,
    pandas_columns,
    polars_columns,
    row_columns,
)
from manyheads.errors import DataError, EmptyTableError, MissingColumnError, did_you_mean, listed, one_line

_GZIP = ".gz"
# A gzip file may contain this many bytes, or this many times its own.
_LEAST_BOMB, _MOST_RATIO = 1 << 30, 200


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and named columns; made by ``read_table``.

    Attributes:
        name: Its name in messages, such as ``ads.csv`` or ``the DataFrame``.
        columns: Column names in order.
        rows: Number of rows.
    """

    name: str
    columns: tuple[str, ...]
    rows: int
    _cells: Mapping[str, Column] = field(repr=False)

    def values(self, column: str) -> list[object]:
        """Return one column's cells as Python values of their original types, missing ones as ``None``.

        Raises:
            MissingColumnError: no column of that name.
        """
        return self._column(column).values()

    def order_of(self, column: str) -> list[object] | None:
        """Return all categories of an ordered categorical column in their order; ``None`` for other columns.

        Raises:
            MissingColumnError: no column of that name.
        """
        return self._column(column).order()

    def to_arrow(self) -> pa.Table:
        """Return all columns as a pyarrow Table; a column of mixed types is written as text."""
        return pa.table({name: self._cells[name].arrow() for name in self.columns})

    def select(self, indices: Sequence[int] | np.ndarray) -> Table:
        """Return the rows with these numbers (counted from 0), in this order.

        Raises:
            TypeError: the numbers are not integers.
            IndexError: a number outside the table.
        """
        chosen = row_indices(indices, self.rows)
        cells = {name: column.select(chosen) for name, column in self._cells.items()}
        return Table(self.name, self.columns, len(chosen), cells)

    def _column(self, name: str) -> Column:
        if name not in self._cells:
            guess = did_you_mean(name, self.columns)
            raise MissingColumnError(
                f"{self.name} has no column {name!r}{guess} Its columns: {listed(self.columns, most=20)}"
            )
        return self._cells[name]


def read_table(data: object) -> Table:
    """Return any supported table as a ``Table``.

    Args:
        data: A path (``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, ``.json``, ``.parquet``, each also with ``.gz``), a
            folder or a pattern (``data/*.csv``) of such files with the same columns, a pandas or polars
            DataFrame, a pyarrow Table, a ``datasets.Dataset``, a list of dicts (a key that a row lacks is
            missing there), or a Table, which is returned as it is. The cells of CSV and TSV files are
            strings, and only an empty one is missing.

    Raises:
        EmptyTableError: no rows.
        DataError: no such file, an unknown format, a file that cannot be read, or two columns of one name.
    """
    if isinstance(data, Table):
        return data
    if isinstance(data, str | os.PathLike):
        return _read_path(Path(data))
    if isinstance(data, pa.Table):
        return _table("the pyarrow Table", arrow_columns(data), data.num_rows)
    if is_from(data, "pandas", "DataFrame"):
        return _read_frame(data, pandas_columns)
    if is_from(data, "polars", "DataFrame"):
        return _read_frame(data, polars_columns)
    if is_from(data, "datasets", "Dataset"):
        return _read_dataset(data)
    if isinstance(data, list | tuple):
        name = "the list of rows"
        return _table(name, row_columns(data, name), len(data))
    raise DataError(_unknown_object(data))


def read_stream(file: IO[bytes] | IO[str], format: str) -> Table:
    """Return the table in an open file, such as standard input.

    Args:
        file: Read to its end; its bytes are taken where it has them (``sys.stdin`` does).
        format: ``"csv"``, ``"tsv"``, ``"jsonl"``, ``"ndjson"`` or ``"parquet"``.

    Raises:
        EmptyTableError: no rows.
        DataError: an unknown format, or contents that cannot be read as it.
    """
    ending = "." + format.lower().removeprefix(".")
    name = "standard input" if getattr(file, "name", None) in {"<stdin>", 0} else "the stream"
    if ending not in READERS:
        raise DataError(
            f"{name}: unknown format {format!r}{did_you_mean(ending, READERS).rstrip('.')}; {KNOWN_FORMATS}"
        )
    content: bytes | str = getattr(file, "buffer", file).read()
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    return READERS[ending](data, name)


def _read_path(path: Path) -> Table:
    if os.path.isdir(path):
        return _read_several(sorted(file for file in path.iterdir() if _ending(file) in READERS), str(path))
    if not os.path.exists(path):
        found = sorted(map(Path, glob.glob(str(path)))) if glob.has_magic(str(path)) else []
        if found:
            return _read_several(found, str(path))
        raise DataError(not_found(path))
    ending = _ending(path)
    if ending not in READERS:
        shown = repr(path.suffix) if path.suffix else "no ending"
        raise DataError(
            f"{path.name}: unknown kind of table, {shown}{did_you_mean(ending, READERS).rstrip('.')}; {KNOWN_FORMATS}"
        )
    try:
        data = _decompressed(path) if path.suffix.lower() == _GZIP else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}; check the file and its permissions") from None
    return READERS[ending](data, path.name)


def _ending(path: Path) -> str:
    """Return a path's ending in lower case, without that of a compressed file."""
    return Path(path.stem).suffix.lower() if path.suffix.lower() == _GZIP else path.suffix.lower()


def _decompressed(path: Path) -> bytes:
    """Return the content of a gzip file.

    Raises:
        DataError: it is so much larger than the file that it must be a decompression bomb.
    """
    most = max(_LEAST_BOMB, _MOST_RATIO * path.stat().st_size)
    with gzip.open(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise DataError(f"{path}: contains more than {most:,} bytes, which is no table; decompress it first")
    return data


def _read_several(paths: Sequence[Path], name: str) -> Table:
    """Return one table of several files with the same columns, in the order of their names.

    Raises:
        DataError: no table, or files with other columns.
    """
    if not paths:
        raise DataError(f"{name}: is a folder without tables ({', '.join(READERS)}); give the path of a table")
    tables = [_read_path(path) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if set(table.columns) != set(tables[0].columns):
            raise DataError(
                f"{name}: {path.name} has the columns {listed(table.columns)}, and {paths[0].name} has "
                f"{listed(tables[0].columns)}; give files with the same columns"
            )
    columns: NamedColumns = [
        (column, list_column([cell for table in tables for cell in table.values(column)]))
        for column in tables[0].columns
    ]
    return _table(name, columns, sum(table.rows for table in tables))


def not_found(path: Path) -> str:
    """Return the message for a path where there is no file."""
    folder = path.parent
    shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
    if not os.path.isdir(folder):
        return f"There is no file {shown!r}, nor a folder for it; give the path of a table"
    close = difflib.get_close_matches(path.name, sorted(os.listdir(folder)), n=3)
    if close:
        return f"There is no file {shown!r}; close to it are: {listed(close)}"
    return f"There is no file {shown!r} (working folder: {str(Path.cwd())!r}); give the path of a table"


def _read_csv(data: bytes, name: str) -> Table:
    table = parse_csv(data, name)
    return _table(name, arrow_columns(table), table.num_rows)


def _read_tsv(data: bytes, name: str) -> Table:
    table = parse_csv(data, name, delimiters=("\t",))
    return _table(name, arrow_columns(table), table.num_rows)


def _read_json_lines(data: bytes, name: str) -> Table:
    rows = accepted_rows(parse_json_lines(data, name), name)
    return _table(name, row_columns(rows, name), len(rows))


def _read_json(data: bytes, name: str) -> Table:
    rows = parse_json(data, name)
    return _table(name, row_columns(rows, name), len(rows))


def _read_parquet(data: bytes, name: str) -> Table:
    if not data:
        raise EmptyTableError(f"{name} is empty; it needs at least one row")
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} cannot be read as Parquet; it may be truncated: {reason}; write or copy it again"
        ) from None
    return _table(name, arrow_columns(table), table.num_rows)


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
KNOWN_FORMATS = f"known are {', '.join(READERS)}; convert it to one of them"


def _read_frame(frame: Any, columns_of: Any) -> Table:
    name = "the DataFrame"
    columns: NamedColumns = columns_of(frame)
    return _table(name, columns, len(frame))


def _read_dataset(dataset: Any) -> Table:
    columns = dataset_columns(dataset) if len(dataset) else []
    return _table("the Dataset", columns, len(dataset))


_NEXT_STEPS = {
    "LazyFrame": "call .collect() first",
    "DatasetDict": "choose a split, such as data['train']",
    "IterableDatasetDict": "choose a split, and collect its rows: list(data['train'])",
    "IterableDataset": "collect its rows: list(data)",
    "Series": "call .to_frame() first",
    "dict": "make it a table: pyarrow.table(data)",
}


def _unknown_object(data: object) -> str:
    kind = type(data).__name__
    known = "a path, a pandas, polars or pyarrow table, a datasets.Dataset, or a list of dicts"
    return f"A table must be {known}, got {kind}; {_NEXT_STEPS.get(kind, 'convert it to one of these')}"


def _table(name: str, columns: NamedColumns, rows: int) -> Table:
    names = checked_names(name, [column for column, _ in columns])
    if rows == 0:
        header = f", only the columns {listed(names)}" if names else ""
        raise EmptyTableError(f"{name} has no rows{header}; it needs at least one")
    if not names:
        raise EmptyTableError(f"{name} has no columns; it needs at least one")
    return Table(name, names, rows, dict(zip(names, (cells for _, cells in columns), strict=True)))


def checked_names(owner: str, names: Sequence[object]) -> tuple[str, ...]:
    """Return column names.

    Args:
        owner: The table's name, for messages.
        names: The names.

    Raises:
        DataError: a name that is no text, or is there twice.
    """
    texts: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"{owner}: a column name must be text, got {name!r} ({type(name).__name__}); rename it")
        texts.append(str(name))
    twice = [name for name, count in Counter(texts).items() if count > 1]
    if twice:
        raise DataError(f"{owner}: column names must differ, these occur twice: {listed(twice)}; rename one of each")
    return tuple(texts)
