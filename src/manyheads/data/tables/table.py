"""Tables of any origin, read into one value."""

from __future__ import annotations

import difflib
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from manyheads.data.tables.columns import Column, row_indices
from manyheads.data.tables.csv_table import parse_csv
from manyheads.data.tables.json_lines import parse_json_lines
from manyheads.data.tables.objects import (
    NamedColumns,
    arrow_columns,
    dataset_columns,
    is_from,
    pandas_columns,
    polars_columns,
    row_columns,
)
from manyheads.errors import DataError, EmptyTableError, MissingColumnError, did_you_mean, listed


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
        data: A path (``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, ``.parquet``), a pandas or polars
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
    if ending not in _READERS:
        raise DataError(f"{name}: unknown format {format!r}{did_you_mean(ending, _READERS) or '.'} {_KNOWN}")
    content: bytes | str = getattr(file, "buffer", file).read()
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    return _READERS[ending](data, name)


def _read_path(path: Path) -> Table:
    if not os.path.exists(path):
        raise DataError(_not_found(path))
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder, not a table. Name the file in it.")
    ending = path.suffix.lower()
    if ending not in _READERS:
        shown = repr(path.suffix) if path.suffix else "no ending"
        raise DataError(f"{path.name}: unknown kind of table, {shown}{did_you_mean(ending, _READERS) or '.'} {_KNOWN}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check the file and its permissions.") from None
    return _READERS[ending](data, path.name)


def _not_found(path: Path) -> str:
    folder = path.parent
    shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}..."
    if not os.path.isdir(folder):
        return f"There is no file {shown!r}, nor a folder for it. Give the path of a table."
    close = difflib.get_close_matches(path.name, sorted(os.listdir(folder)), n=3)
    if close:
        return f"There is no file {shown!r}. Close to it are: {listed(close)}"
    return f"There is no file {shown!r} (working folder: {str(Path.cwd())!r}). Give the path of a table."


def _read_csv(data: bytes, name: str) -> Table:
    table = parse_csv(data, name)
    return _table(name, arrow_columns(table), table.num_rows)


def _read_tsv(data: bytes, name: str) -> Table:
    table = parse_csv(data, name, delimiters=("\t",))
    return _table(name, arrow_columns(table), table.num_rows)


def _read_json_lines(data: bytes, name: str) -> Table:
    rows = parse_json_lines(data, name)
    return _table(name, row_columns(rows, name), len(rows))


def _read_parquet(data: bytes, name: str) -> Table:
    if not data:
        raise EmptyTableError(f"{name} is empty. It needs at least one row.")
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{name} cannot be read as Parquet; it may be truncated: {reason}. Write or copy it again."
        ) from None
    return _table(name, arrow_columns(table), table.num_rows)


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
}
_KNOWN = f"Known are {', '.join(_READERS)}; convert it to one of them."


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
    return f"A table must be {known}, got {kind}; {_NEXT_STEPS.get(kind, 'convert it to one of these')}."


def _table(name: str, columns: NamedColumns, rows: int) -> Table:
    names = _checked_names(name, [column for column, _ in columns])
    if rows == 0:
        header = f", only the columns {listed(names)}" if names else ""
        raise EmptyTableError(f"{name} has no rows{header}. It needs at least one.")
    if not names:
        raise EmptyTableError(f"{name} has no columns. It needs at least one.")
    return Table(name, names, rows, dict(zip(names, (cells for _, cells in columns), strict=True)))


def _checked_names(owner: str, names: Sequence[object]) -> tuple[str, ...]:
    texts: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"{owner}: a column name must be text, got {name!r} ({type(name).__name__}). Rename it.")
        texts.append(str(name))
    twice = [name for name, count in Counter(texts).items() if count > 1]
    if twice:
        raise DataError(f"{owner}: column names must differ, these occur twice: {listed(twice)}. Rename one of each.")
    return tuple(texts)
