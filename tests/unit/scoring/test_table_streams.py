"""Tables read in pieces have the cells of ``read_table``."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manyheads.data.tables.streams import csv_stream, json_lines_stream, lines, table_stream
from manyheads.data.tables.streams.find import find_streams
from manyheads.data.tables.table import read_table
from manyheads.errors import DataError, EmptyTableError
from manyheads.scoring.plan import cut, parts_of

FILES = {
    "quotes.csv": b'id,ad\n1,"x, y"\n2,\n\n3,"two\nlines"\n4,"say ""hi"""\n',
    "mark.csv": b'\xef\xbb\xbfid;ad; \n1;a;\n2;"b";\n',
    "literal.csv": b'id,ad,z\n1,"x,2\n2,5" pipe,"3\n',
    "backslash.csv": b'id,ad\n1,"x \\"q\\" y"\n2,z\n',
    "old-mac.csv": b"id,ad\r1,x\r2,y\r",
    "windows.csv": b'id,ad\r\n1,x\r\n2,"y\r\nz"\r\n',
    "one-column.csv": b'ad\nx\n\n""\ny\n',
    "names.csv": "id, ad ,größe\n1,ä,1\n2,😀,2".encode(),
    "tabs.tsv": b'id\tad\n1\tx"y\n2\tz\n',
    "mixed.jsonl": b'{"id":1,"ad":"x"}\n\n{"ad":"y","s":{"a":1}}\n{"ad":null,"id":2.5,"s":{"b":[]}}\n',
    "late.jsonl": b'{"id":1,"ad":"x","n":null}\n{"ad":"y","id":2}\n{"ad":"z","id":"three","new":[1]}\n',
    "late-type.jsonl": b'{"id":1,"ad":"x","n":null}\n{"ad":"y","id":2,"n":[1]}\n{"ad":"y","id":3,"n":[2.5]}\n',
    "prodigy.jsonl": b'{"ad":"x","answer":"accept"}\n{"ad":"y","answer":"reject"}\n{"ad":"z","answer":"accept"}\n',
    "array.json": b'[{"id":1,"ad":"x","n":null},{"ad":"y","id":2}]',
}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (csv_stream, json_lines_stream, table_stream):
        monkeypatch.setattr(module, "PIECE_ROWS", 2)
    monkeypatch.setattr(lines, "_BLOCK_BYTES", 4)


def streamed(path: Path, start: int = 0) -> pa.Table:
    (stream,) = find_streams(path)
    survey = stream.survey()
    pieces = list(stream.pieces(survey.reading, survey.schema, start, ("ad",)))
    assert sum(piece.num_rows for piece in pieces) == survey.rows - start
    table = pa.concat_tables(pieces)
    assert table.column("error").null_count == table.num_rows
    return table.drop_columns(["error"]).combine_chunks()


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", FILES)
def test_pieces_have_the_cells_of_the_whole_table(tmp_path: Path, name: str, ending: str) -> None:
    path = tmp_path / f"{name}{ending}"
    path.write_bytes(gzip.compress(FILES[name]) if ending else FILES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = read_table(path).to_arrow().combine_chunks()
        assert streamed(path).equals(expected)
        assert streamed(path, start=1).equals(expected.slice(1).combine_chunks())


def test_parquet_keeps_types_and_starts_at_any_row(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array(range(10), pa.uint8()),
            "ad": pa.array([f"ad {row}" for row in range(10)]).dictionary_encode(),
            "tags": [[], ["a"]] * 5,
            "nothing": pa.nulls(10),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3)
    for start in range(10):
        found = streamed(tmp_path / "a.parquet", start)
        assert found.to_pylist() == table.slice(start).to_pylist()
        assert found.schema.remove_metadata() == table.schema


def test_files_share_their_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"ad": ["x"], "id": pa.array([1], pa.int32())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": pa.array([2], pa.int64()), "ad": ["y"]}), tmp_path / "b.parquet")
    from manyheads.data.tables.streams.conform import shared_schema

    streams = find_streams(tmp_path / "*.parquet")
    schema = shared_schema([stream.survey().schema for stream in streams])
    pieces = [piece for stream in streams for piece in stream.pieces({}, schema, 0, ("ad",))]
    assert pa.concat_tables(pieces).drop_columns(["error"]).to_pylist() == [{"ad": "x", "id": 1}, {"ad": "y", "id": 2}]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", EmptyTableError, "is empty"),
        (b"a,b\n1,\0\n", DataError, "line 2 contains a NUL byte"),
        ("a,b\n1,2\n".encode("utf-16"), DataError, "begins as UTF-16"),
        (b'a,b\n1,"x\n2,"y" z,3\n', DataError, "double a quote"),
        (b'a,"b\n1,2\n', DataError, "never closed"),
    ],
)
def test_a_file_that_is_no_csv(tmp_path: Path, content: bytes, error: type[Exception], words: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    (stream,) = find_streams(tmp_path / "a.csv")
    with pytest.raises(error, match=words):
        stream.survey()


def test_urls_name_files_folders_and_patterns() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    for name in ("b", "a"):
        with files.open(f"/ads/{name}.csv", "wb") as file:
            file.write(f"ad\n{name}\n".encode())
    for url in ("memory://ads", "memory://ads/*.csv"):
        streams = find_streams(url)
        assert [stream.name for stream in streams] == ["memory://ads/a.csv", "memory://ads/b.csv"]
        assert streams[0].survey().rows == 1
    with pytest.raises(DataError, match="no table there"):
        find_streams("memory://ads/none.csv")
    with pytest.raises(DataError, match="cannot be opened"):
        find_streams("nosuch://ads")


def test_parts_skip_those_that_are_there() -> None:
    table = pa.table({"id": range(10)})
    parts = parts_of(0, 10, 3)
    pieces = [table.slice(first, 2) for first in range(4, 10, 2)]
    todo = [parts[1], parts[3]]
    with pytest.raises(DataError, match="has fewer rows"):
        list(cut([table.slice(3, 4)], [parts[1], parts[2]], "a"))
    pieces = [table.slice(3, 1), *pieces]
    found = {part.name: rows.column("id").to_pylist() for part, rows in cut(pieces, todo, "a")}
    assert found == {"part-00000-000001": [3, 4, 5], "part-00000-000003": [9]}
