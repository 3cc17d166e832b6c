"""Bad files are rejected in one line that names the file and what to do; good odd ones are read."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manyheads.data.tables.table import read_table
from manyheads.errors import DataError, EmptyTableError

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"

REJECTED = {
    "empty.csv": (b"", EmptyTableError, "is empty"),
    "blank.csv": (b"\n\n\r\n", EmptyTableError, "is empty"),
    "bom.csv": (b"\xef\xbb\xbf", EmptyTableError, "is empty"),
    "header.csv": (b"a,b\n", EmptyTableError, "has no rows, only the columns 'a', 'b'"),
    "header_alone.csv": (b"a,b", EmptyTableError, "has no rows"),
    "latin1.csv": ("a,b\n1,2\nü,3\n".encode("latin-1"), DataError, "line 3 contains the byte 0xfc.*UTF-8"),
    "latin1_header.csv": ("größe,b\n1,2\n".encode("latin-1"), DataError, "line 1 contains the byte 0xf6"),
    "utf16.csv": ("a,b\n1,2\n".encode("utf-16"), DataError, "UTF-16"),
    "nul.csv": (b"a,b\n1,x\0y\n", DataError, "line 2 contains a NUL byte"),
    "long_row.csv": (b'a,b\n"x\ny",2\n\n1,2,3\n', DataError, "row 2: has 3 cells, but the header 2"),
    "short_row.csv": (b"a,b\n1,2\n1\n", DataError, "row 2: has 1 cells, but the header 2"),
    "open_quote.csv": (b'a,b\n1,"x,y"\n2,"y\n3,z\n4,w\n', DataError, "line 3: the quote in it is never closed"),
    "open_header.csv": (b'"a,b\n1,2\n', DataError, "quote in the header"),
    "twice.csv": (b"a,b,a\n1,2,3\n", DataError, "occur twice: 'a'"),
    "image.csv": (PNG, DataError, "NUL byte"),
    "packed.csv": (gzip.compress(b"a,b\n1,2\n" * 50, mtime=0), DataError, "must be"),
    "empty.tsv": (b"", EmptyTableError, "is empty"),
    "empty.jsonl": (b"\n \n", EmptyTableError, "no rows"),
    "broken.jsonl": (b'{"a": 1}\n\n{"a": \n{"a": 2}\n', DataError, "line 3: is not JSON"),
    "array.jsonl": (b'[{"a": 1}]\n', DataError, "line 1: must be an object"),
    "deep.jsonl": (b"[" * 200_000, DataError, "line 1: is not JSON"),
    "twice.jsonl": (b'{"a": 1, "a": 2}\n', DataError, "line 1: .*occurs twice"),
    "latin1.jsonl": ('{"a": 1}\n{"a": "ü"}\n'.encode("latin-1"), DataError, "line 2 contains the byte 0xfc"),
    "keyless.jsonl": (b"{}\n{}\n", EmptyTableError, "no columns"),
    "empty.parquet": (b"", EmptyTableError, "is empty"),
    "text.parquet": (b"a,b\n1,2\n", DataError, "cannot be read as Parquet"),
    "sheet.xlsx": (b"PK", DataError, "unknown kind of table, '.xlsx'.*known are .csv"),
    "list.json": (b"[]", EmptyTableError, "no rows"),
    "noending": (b"a\n1\n", DataError, "no ending"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_a_bad_file_is_rejected_in_one_line(tmp_path: Path, name: str) -> None:
    content, error, reason = REJECTED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=reason) as caught:
        read_table(path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_parquet_cut_short_anywhere(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pq.write_table(pa.table({"a": ["x" * 50, "y"] * 20}), whole)
    content = whole.read_bytes()
    for length in range(1, len(content), 37):
        path = tmp_path / "cut.parquet"
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"cut\.parquet cannot be read"):
            read_table(path)


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(DataError, match="occur twice"):
        read_table(path)


@pytest.mark.parametrize(
    ("content", "cells"),
    [
        ('a,b\n1,"x"\n', ["x"]),
        ('a,b\n1,"x"', ["x"]),
        ('a,b\n1,"say ""x"""\n', ['say "x"']),
        ('a,b\n1,"say ""x"""', ['say "x"']),
        ('a,b\n1,"x\n"\n', ["x\n"]),
        ('a,b\n1,5"\n', ['5"']),
        ('a,b\n1,""', [None]),
        ("a,b\n1,x", ["x"]),
        ("a,b\n,\n", [None]),
    ],
)
def test_a_closed_quote_at_the_end_is_read(tmp_path: Path, content: str, cells: list[object]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content.encode())
    assert read_table(path).values("b") == cells


def test_a_path_that_is_not_there_names_those_close_to_it(tmp_path: Path) -> None:
    (tmp_path / "ads.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"There is no file .*adds\.csv'; close to it are: 'ads\.csv'"):
        read_table(tmp_path / "adds.csv")
    with pytest.raises(DataError, match="nor a folder"):
        read_table(tmp_path / "nowhere" / "ads.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path / "empty")


@pytest.mark.parametrize("path", ["", "zzz.csv", "a\0b.csv", "x" * 5000, "a text, not a path\nat all"])
def test_odd_paths(path: str) -> None:
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind only ordinary users")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    with pytest.raises(DataError, match="Permission denied"):
        read_table(path)


@pytest.mark.parametrize("rows", [["a"], [None], [["a"]], [{"a": 1}, 5]])
def test_rows_that_are_no_dicts(rows: list[object]) -> None:
    with pytest.raises(DataError, match=f"row {len(rows)}: must be a dict"):
        read_table(rows)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.filterwarnings("ignore:.*(quotes are read as part|a backslash before)")
def test_random_bytes_are_read_or_rejected(tmp_path: Path, ending: str) -> None:
    draw = random.Random(0)
    alphabet = b'ab,;\t\n\r"|{}[]: 1\xc3\xa4\xef\xbb\xbf\0'
    for _ in range(300):
        path = tmp_path / f"a.{ending}"
        path.write_bytes(
            bytes(draw.choice(alphabet[: draw.choice([9, 16, len(alphabet)])]) for _ in range(draw.randrange(40)))
        )
        with contextlib.suppress(DataError):
            table = read_table(path)
            assert table.rows == len(table.values(table.columns[0])) == table.to_arrow().num_rows
