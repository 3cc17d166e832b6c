"""Tables of every origin give the same cells, with their own types."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from manyheads.data.tables.table import Table, read_stream, read_table
from manyheads.errors import DataError, EmptyTableError, MissingColumnError


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_csv_cells_are_strings_and_only_an_empty_one_is_missing(tmp_path: Path) -> None:
    content = 'text,label\nNA,0\nnull,1\nNone,\nnan,""\n "x",True\n'
    table = read_table(write(tmp_path, "ads.csv", content))
    assert (table.name, table.columns, table.rows) == ("ads.csv", ("text", "label"), 5)
    assert table.values("text") == ["NA", "null", "None", "nan", ' "x"']
    assert table.values("label") == ["0", "1", None, None, "True"]


def test_csv_dates_and_numbers_are_left_alone(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a.csv", "when,n,id\n2024-01-01,1.50,007\n"))
    assert [table.values(name) for name in table.columns] == [["2024-01-01"], ["1.50"], ["007"]]


def test_csv_quoted_newlines_quotes_and_delimiters(tmp_path: Path) -> None:
    content = 'text,label\r\n"two\nlines, ""quoted""",a\r\n5" disk,b\r\n'
    assert read_table(write(tmp_path, "a.csv", content)).values("text") == ['two\nlines, "quoted"', '5" disk']


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_csv_byte_order_mark_and_line_ends(tmp_path: Path, mark: bytes, end: bytes) -> None:
    content = mark + end.join(["größe,b".encode(), b"1,2", b"3,4", b""])
    table = read_table(write(tmp_path, "a.csv", content))
    assert table.columns == ("größe", "b")
    assert table.values("größe") == ["1", "3"]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("a,b", ("a", "b")),
        ("a;b", ("a", "b")),
        ("a\tb", ("a", "b")),
        ('"x, y, z";b', ("x, y, z", "b")),
        ('"two\nlines";b', ("two\nlines", "b")),
        ("alone", ("alone",)),
        ('"a""b,c"', ('a"b,c',)),
    ],
)
def test_csv_delimiter_comes_from_the_header(tmp_path: Path, header: str, columns: tuple[str, ...]) -> None:
    delimiter = header.replace('"', "")[-2] if len(columns) > 1 else ","
    table = read_table(write(tmp_path, "a.csv", f"{header}\n" + delimiter.join(["1,5"[0]] * len(columns)) + "\n"))
    assert table.columns == columns


def test_semicolon_file_keeps_decimal_commas(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a.csv", "text;score\nJa, gern;3,5\n"))
    assert table.values("text") == ["Ja, gern"]
    assert table.values("score") == ["3,5"]


def test_tsv_is_tab_whatever_the_header_holds(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a.tsv", "a, b, c\tlabel\nx,y\t1\n"))
    assert table.columns == ("a, b, c", "label")


def test_empty_lines_are_not_rows(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "a.csv", "\n\na,b\n1,2\n\n3,4\n\n")).values("a") == ["1", "3"]


def test_a_cell_larger_than_arrows_block(tmp_path: Path) -> None:
    long = "x\n" * 2_000_000
    table = read_table(write(tmp_path, "a.csv", f'a,b\n"{long}",1\ny,2\n'))
    assert table.values("a") == [long, "y"]


def test_json_lines_keep_types_and_unite_keys(tmp_path: Path) -> None:
    content = '{"t": "2024-01-01", "n": 1}\n\n{"t": "b\u2028c", "x": [1, "a"], "n": NaN}\n{"n": 2.5, "x": true}\n'
    for name in ("a.jsonl", "a.NDJSON"):
        table = read_table(write(tmp_path, name, "\ufeff" + content))
        assert table.columns == ("t", "n", "x")
        assert table.values("t") == ["2024-01-01", "b\u2028c", None]
        assert table.values("n") == [1, None, 2.5]
        assert table.values("x") == [None, [1, "a"], True]
        assert type(table.values("n")[0]) is int


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "year=2020" / "a.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"n": [0, 1, None], "f": [0.5, float("nan"), None], "t": ["a", None, ""]}), path)
    table = read_table(path)
    assert table.columns == ("n", "f", "t")
    assert table.values("n") == [0, 1, None]
    assert table.values("f") == [0.5, None, None]
    assert table.values("t") == ["a", None, ""]


def typed(values: list[object]) -> list[tuple[type, object]]:
    return [(type(value), value) for value in values]


COLUMNS = {
    "i": [0, 1, 1],
    "b": [True, False, True],
    "s": ["a", "NA", None],
    "f": [0.5, None, 2.0],
    "l": [["a"], [], ["a", "b"]],
}


def as_pandas() -> object:
    return pd.DataFrame(COLUMNS)


def as_polars() -> object:
    return pl.DataFrame(COLUMNS)


def as_arrow() -> object:
    return pa.table(COLUMNS)


def as_dataset() -> object:
    return datasets.Dataset.from_dict(COLUMNS)


def as_rows() -> object:
    return [{name: cells[row] for name, cells in COLUMNS.items()} for row in range(3)]


@pytest.mark.parametrize("make", [as_pandas, as_polars, as_arrow, as_dataset, as_rows])
def test_every_kind_of_table_gives_the_same_cells(make: object) -> None:
    table = read_table(make())  # type: ignore[operator]
    assert table.columns == tuple(COLUMNS)
    assert table.rows == 3
    for name, cells in COLUMNS.items():
        assert typed(table.values(name)) == typed(cells)
        assert typed(table.select([2, 0]).values(name)) == typed([cells[2], cells[0]])
    assert table.to_arrow().column_names == list(COLUMNS)
    assert table.to_arrow().to_pylist()[2] == {name: cells[2] for name, cells in COLUMNS.items()}


def test_pandas_missing_values_of_every_dtype() -> None:
    frame = pd.DataFrame(
        {
            "nullable": pd.array([0, None, 2], dtype="Int64"),
            "bool": pd.Series([True, None, False], dtype="object"),
            "boolean": pd.array([True, None, False], dtype="boolean"),
            "category": pd.Categorical(["x", None, "y"]),
            "numbers": pd.Categorical([1.0, None, 2.0]),
            "mixed": pd.Series([1, 2.5, np.int64(3)], dtype="object"),
            "arrays": pd.Series([np.array([1, 2]), None, pd.NA], dtype="object"),
        }
    ).set_axis([7, 7, 9])
    table = read_table(frame)
    assert typed(table.values("nullable")) == typed([0, None, 2])
    assert table.values("bool") == table.values("boolean") == [True, None, False]
    assert table.values("category") == ["x", None, "y"]
    assert table.values("numbers") == [1.0, None, 2.0]
    assert typed(table.values("mixed")) == typed([1, 2.5, 3])
    assert table.values("arrays") == [[1, 2], None, None]
    stamps = read_table(pd.DataFrame({"t": pd.to_datetime(["2024-01-01", None])}))
    assert stamps.values("t")[1] is None


def test_polars_object_and_categorical_columns() -> None:
    frame = pl.DataFrame(
        {
            "o": pl.Series([1, "x", None], dtype=pl.Object),
            "c": pl.Series(["x", None, "y"], dtype=pl.Categorical),
            "f": [1.0, float("nan"), None],
        }
    )
    table = read_table(frame)
    assert table.values("o") == [1, "x", None]
    assert table.values("c") == ["x", None, "y"]
    assert table.values("f") == [1.0, None, None]


def test_dataset_keeps_the_order_of_its_shuffle() -> None:
    dataset = datasets.Dataset.from_dict({"n": list(range(20))}).shuffle(seed=3).select(range(5))
    assert read_table(dataset.with_format("numpy")).values("n") == list(dataset["n"])


def test_rows_may_lack_keys() -> None:
    table = read_table([{"a": 1}, {"b": "x", "a": float("nan")}, {}])
    assert table.columns == ("a", "b")
    assert table.values("a") == [1, None, None]
    assert table.values("b") == [None, "x", None]


def test_a_table_is_returned_as_it_is() -> None:
    table = read_table([{"a": 1}])
    assert read_table(table) is table


def test_changing_what_values_returns_changes_no_table() -> None:
    table = read_table([{"a": 1}])
    table.values("a").append(2)
    assert table.values("a") == [1]


def test_mixed_columns_are_written_as_text() -> None:
    rows = [
        {"m": 1, "n": 1, "s": "\ud800", "big": 2**70},
        {"m": "a", "n": 2.5, "s": "ü", "big": 1},
        {"m": {"k": True}},
    ]
    arrow = read_table(rows).to_arrow()
    assert arrow.column("m").to_pylist() == ["1", "a", '{"k": true}']
    assert arrow.column("n").to_pylist() == ["1", "2.5", None]
    assert arrow.column("s").to_pylist() == ["?", "ü", None]
    assert arrow.column("big").to_pylist() == [str(2**70), "1", None]
    pa_csv.write_csv(arrow, io.BytesIO())


@pytest.mark.parametrize(
    ("indices", "error"),
    [([True, False], TypeError), (np.array([0.0]), TypeError), ([3], IndexError), ([-1], IndexError)],
)
def test_select_rejects_what_is_not_a_row_number(indices: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_table([{"a": 1}, {"a": 2}, {"a": 3}]).select(indices)  # type: ignore[arg-type]


def test_select_may_be_empty_or_repeat() -> None:
    table = read_table(pa.table({"a": ["x", "y"]}))
    assert table.select([]).rows == 0
    assert table.select(np.array([1, 1, 0])).values("a") == ["y", "y", "x"]


def test_missing_column_names_the_closest() -> None:
    table = read_table([{"ad": "x", "job_type": "y"}])
    with pytest.raises(MissingColumnError) as caught:
        table.values("jobtype")
    assert str(caught.value) == (
        "the list of rows has no column 'jobtype'; did you mean 'job_type'? Its columns: 'ad', 'job_type'"
    )
    with pytest.raises(KeyError, match=r"has no column 'zzz'\. Its columns"):
        table.values("zzz")


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", ".ndjson"])
def test_streams_of_text_and_bytes(ending: str) -> None:
    content = '{"a": "é"}\n' if "j" in ending else "a\né\n"
    for file in (
        io.StringIO(content),
        io.BytesIO(content.encode()),
        io.TextIOWrapper(io.BytesIO(content.encode())),
    ):
        assert read_stream(file, ending).values("a") == ["é"]


def test_stream_of_parquet_and_of_an_unknown_format() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), file)
    assert read_stream(io.BytesIO(file.getvalue()), "parquet").values("a") == [1]
    with pytest.raises(DataError, match=r"unknown format 'jsnl'; did you mean '\.jsonl'\?"):
        read_stream(io.BytesIO(b""), "jsnl")


@pytest.mark.parametrize(
    ("data", "step"),
    [
        (5, "convert it"),
        ({"a": [1]}, r"pyarrow\.table\(data\)"),
        (pd.Series([1]), "to_frame"),
        (pl.LazyFrame({"a": [1]}), "collect"),
        (datasets.DatasetDict(), "split"),
    ],
)
def test_what_is_no_table_is_told_the_next_step(data: object, step: str) -> None:
    with pytest.raises(DataError, match=step):
        read_table(data)


@pytest.mark.parametrize("data", [[], pd.DataFrame(), pl.DataFrame(), pa.table({"a": pa.array([], pa.string())}), [{}]])
def test_no_rows_or_columns(data: object) -> None:
    with pytest.raises(EmptyTableError):
        read_table(data)


def test_empty_dataset() -> None:
    with pytest.raises(EmptyTableError, match="the Dataset has no rows"):
        read_table(datasets.Dataset.from_dict({"a": []}))


def test_frames_with_bad_column_names() -> None:
    with pytest.raises(DataError, match="must be text, got 0"):
        read_table(pd.DataFrame([[1, 2]]))
    with pytest.raises(DataError, match="occur twice: 'a'"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="occur twice: 'a'"):
        read_table(pa.table([[1], [2]], names=["a", "a"]))


def test_subclasses_of_a_frame_are_frames() -> None:
    class Frame(pd.DataFrame):
        pass

    assert isinstance(read_table(Frame({"a": [1]})), Table)


def test_reading_imports_no_optional_library(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "a,b\n1,2\n")
    code = (
        "import sys\n"
        "from manyheads.data import split\n"
        "from manyheads.data.texts import texts\n"
        "from manyheads.data.tables.table import read_table\n"
        f"texts.read_texts(read_table({str(path)!r}), 'a')\n"
        "heavy = {'torch', 'transformers', 'pandas', 'polars', 'datasets'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
