"""The tables that a source names: files, folders, patterns, URLs, or a table in memory."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from manyheads.data.tables.streams.csv_stream import CsvStream
from manyheads.data.tables.streams.files import File, LocalFile, RemoteFile, file_system, is_url
from manyheads.data.tables.streams.json_lines_stream import JsonLinesStream
from manyheads.data.tables.streams.parquet_stream import ParquetStream
from manyheads.data.tables.streams.stream import TableStream
from manyheads.data.tables.streams.table_stream import MemoryStream
from manyheads.data.tables.table import KNOWN_FORMATS, READERS, not_found, read_table
from manyheads.errors import DataError, did_you_mean

_BLOCK_BYTES = 1 << 20


def find_streams(source: object) -> list[TableStream]:
    """Return the tables of a source, in the order of their names.

    Args:
        source: A path, URL, folder or pattern of CSV, TSV, JSON Lines, JSON or Parquet files, or anything else that
            ``read_table`` takes. A JSON file with one array, and a table in memory, are held in memory.

    Raises:
        DataError: there is no such file, or none that is a table.
        MissingExtraError: a URL whose file system needs a package that is not installed.
    """
    if not isinstance(source, str | os.PathLike):
        return [MemoryStream(read_table(source))]
    files = _remote_files(str(source)) if is_url(str(source)) else _local_files(Path(source))
    return [stream_of(file) for file in files]


def stream_of(file: File) -> TableStream:
    """Return the stream for a file's ending.

    Raises:
        DataError: an ending that is none of a table.
    """
    if file.ending not in _STREAMS:
        shown = repr(file.ending) if file.ending else "no ending"
        guess = did_you_mean(file.ending, _STREAMS).rstrip(".")
        raise DataError(f"{file.name}: unknown kind of table, {shown}{guess}; {KNOWN_FORMATS}")
    return _STREAMS[file.ending](file)


def stream_of_input(file: IO[bytes], format: str, copy: Path) -> TableStream:
    """Return a stream of an open file, such as standard input, of which a copy is written first.

    Args:
        file: Read to its end.
        format: ``"csv"``, ``"tsv"``, ``"jsonl"``, ``"ndjson"`` or ``"parquet"``.
        copy: A new file for the copy, which must be kept as long as the stream is used; without an ending.

    Raises:
        DataError: an unknown format.
    """
    ending = "." + format.lower().removeprefix(".")
    if ending not in READERS:
        guess = did_you_mean(ending, READERS).rstrip(".")
        raise DataError(f"standard input: unknown format {format!r}{guess}; {KNOWN_FORMATS}")
    target = copy.with_suffix(ending)
    digest = hashlib.sha256()
    with target.open("wb") as writer:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            writer.write(block)
    stream = stream_of(LocalFile(target))
    # The copy's time of change says nothing.
    stream.name, stream.identity = "standard input", digest.hexdigest()
    return stream


def _local_files(path: Path) -> Sequence[File]:
    if os.path.isdir(path):
        # Hidden files are those of other programs, or results that are not complete.
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        found: list[Path] = sorted(file for file in visible if LocalFile(file).ending in _STREAMS)
        _check_any(found, str(path))
    elif os.path.exists(path):
        found = [path]
    else:
        found = sorted(map(Path, glob.glob(str(path)))) if glob.has_magic(str(path)) else []
        if not found:
            raise DataError(not_found(path))
    return [LocalFile(file) for file in found]


def _remote_files(url: str) -> Sequence[File]:
    system, path, protocol = file_system(url)
    try:
        if glob.has_magic(path):
            found = sorted(system.glob(path))
        elif system.isdir(path):
            names = sorted(system.ls(path, detail=False))
            found = [name for name in names if RemoteFile(system, name, protocol).ending in _STREAMS]
        else:
            found = [path] if system.exists(path) else []
    except OSError as error:
        raise DataError(f"{url}: cannot be listed: {error}; check the URL and your access") from None
    _check_any(found, url)
    return [RemoteFile(system, name, protocol) for name in found]


def _check_any(found: Sequence[Any], name: str) -> None:
    if not found:
        raise DataError(f"{name}: there is no table there ({', '.join(_STREAMS)}); give the path of a table")


def _whole(file: File) -> TableStream:
    with file.opened() as opened:
        table = READERS[file.ending](opened.read(), file.name)
    stream = MemoryStream(table, ".jsonl")
    return stream


_STREAMS: dict[str, Callable[[File], TableStream]] = {
    ".csv": CsvStream,
    ".tsv": partial(CsvStream, delimiters=("\t",)),
    ".jsonl": JsonLinesStream,
    ".ndjson": JsonLinesStream,
    ".json": _whole,
    ".parquet": ParquetStream,
}
