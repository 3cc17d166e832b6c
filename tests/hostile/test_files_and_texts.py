"""Files and texts as people bring them: read as they were meant, or one line; never fewer rows in silence."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.errors import DataError, InputWarning, TextError

Saved = Callable[[str], Path]


def lines(delimiter: str, **changed: str) -> list[str]:
    rows = [f"text{delimiter}label"] + [f"plain text {i}{delimiter}{'pos' if i % 2 else 'neg'}" for i in range(20)]
    for at, row in changed.items():
        rows[int(at[1:])] = row.replace("TAB", delimiter)
    return rows


@pytest.mark.parametrize("ending", ["tsv", "csv"])
@pytest.mark.parametrize(
    "changed",
    [
        {"_4": '"Nice oneTABpos', "_11": '"also thisTABneg'},
        {"_4": '"never closedTABpos'},
        {"_4": '"Nice" oneTABpos'},
        {"_4": '"quoted" and "quoted"TABpos', "_9": '"TABneg'},
    ],
    ids=["two", "one", "a quoted word", "several"],
)
def test_lone_quotes_belong_to_the_texts(tmp_path: Path, ending: str, changed: dict[str, str]) -> None:
    delimiter = "\t" if ending == "tsv" else ","
    rows = lines(delimiter, **changed)
    path = tmp_path / f"quotes.{ending}"
    path.write_text("\n".join(rows) + "\n")
    with pytest.warns(InputWarning, match=rf"quotes\.{ending}: quotes are read as part of the texts"):
        table = read_table(path)
    expected = list(csv.reader(rows[1:], delimiter=delimiter, quoting=csv.QUOTE_NONE))
    assert [list(row) for row in zip(table.values("text"), table.values("label"), strict=True)] == expected


def test_a_quote_that_swallows_rows_of_a_tsv_and_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "quotes.tsv"
    path.write_text("\n".join(lines("\t", _4='"Nice oneTABpos', _11='also this"TABneg')) + "\n")
    with pytest.warns(InputWarning, match="a cell would span the lines 5 to 12"):
        assert read_table(path).rows == 20


def test_an_escaped_quote(tmp_path: Path) -> None:
    path = tmp_path / "escaped.csv"
    path.write_text('text,label\n"he said \\"stop\\", and left",pos\n"fine",neg\n')
    with pytest.warns(InputWarning, match="a backslash before a quote"):
        assert read_table(path).values("text") == ['he said "stop", and left', "fine"]


def test_quotes_that_can_be_read_in_no_way(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text('text,label\n"a, b" c,pos\n"d, e",neg\n')
    with pytest.raises(DataError, match=r"bad\.csv, line 2: text follows a closing quote; double a quote"):
        read_table(path)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "pandas": lambda frame, path: frame.to_csv(path, index=False),
    "pandas, all quoted": lambda frame, path: frame.to_csv(path, index=False, quoting=csv.QUOTE_ALL),
    "pandas, semicolons": lambda frame, path: frame.to_csv(path, index=False, sep=";"),
    "polars": lambda frame, path: pl.from_pandas(frame).write_csv(path),
    "pyarrow": lambda frame, path: pa.csv.write_csv(pa.Table.from_pandas(frame), path),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("seed", range(5))
def test_what_libraries_write_is_read_back(tmp_path: Path, writer: str, seed: int) -> None:
    draw = random.Random(seed)
    pieces = ["a", "b c", '"', '""', ",", ";", "\n", "\r\n", "'", "\\", "é", "\t", "x" * 300]
    texts = ["z" + "".join(draw.choices(pieces, k=draw.randrange(6))) + "z" for _ in range(30)]
    frame = pd.DataFrame({"text": texts, "label": [draw.choice("xy") for _ in texts], "n": ["1"] * len(texts)})
    path = tmp_path / "table.csv"
    WRITERS[writer](frame, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = read_table(path)
    assert table.values("text") == texts
    assert table.values("label") == frame["label"].tolist()


def test_random_lone_quotes_never_lose_rows_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    for seed in range(60):
        draw = random.Random(seed)
        rows = lines("\t")
        for at in draw.sample(range(1, 21), draw.randrange(1, 5)):
            place = draw.randrange(len(rows[at]) + 1)
            rows[at] = rows[at][:place] + '"' + rows[at][place:]
        path.write_text("\n".join(rows) + "\n")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                read = read_table(path).rows
            except DataError:
                continue
        assert read == 20, (seed, [str(one.message) for one in told])


ROWS = [{"text": "chest pain", "label": "a"}, {"text": "knee", "label": "b"}]
CSV = "text,label\nchest pain,a\nknee,b\n"


def gz(content: str) -> bytes:
    return gzip.compress(content.encode(), mtime=0)


FILES: dict[str, dict[str, bytes]] = {
    "an array": {"t.json": json.dumps(ROWS).encode()},
    "lines named json": {"t.json": "\n".join(map(json.dumps, ROWS)).encode()},
    "an array with a mark": {"t.json": b"\xef\xbb\xbf " + json.dumps(ROWS).encode()},
    "csv.gz": {"t.csv.gz": gz(CSV)},
    "jsonl.gz": {"t.jsonl.gz": gz("\n".join(map(json.dumps, ROWS)))},
    "json.gz": {"t.json.gz": gz(json.dumps(ROWS))},
    "a padded header": {"t.csv": b" text , label\nchest pain,a\nknee,b\n"},
    "an empty column": {"t.csv": b"text,label,\nchest pain,a,\nknee,b,\n"},
    "two empty columns": {"t.csv": b",text,label,\n,chest pain,a,\n,knee,b,\n"},
    "Prodigy": {
        "t.jsonl": "\n".join(
            json.dumps({**row, "answer": answer}) for row, answer in [(ROWS[0], "accept"), (ROWS[1], "accept")]
        ).encode()
    },
}


@pytest.mark.parametrize("case", FILES)
def test_files(tmp_path: Path, case: str) -> None:
    for name, content in FILES[case].items():
        (tmp_path / name).write_bytes(content)
    table = read_table(tmp_path / name)
    assert [table.values("text"), table.values("label")] == [["chest pain", "knee"], ["a", "b"]]


def test_an_index_column_of_pandas_is_a_column_without_a_name(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_csv(tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv").values("text") == ["chest pain", "knee"]


def test_spacys_pairs(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(
        json.dumps([["chest pain", {"entities": [[0, 5, "place"]]}], ["knee", {"entities": []}]])
    )
    table = read_table(tmp_path / "t.json")
    assert table.values("text") == ["chest pain", "knee"]
    assert isinstance(mh.infer_heads(table, "entities")["entities"], mh.Tokens)


def test_rejected_rows_of_prodigy_are_left_out_and_told(tmp_path: Path) -> None:
    answers = zip(ROWS * 2, ["accept", "reject", "ignore", "accept"], strict=True)
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({**row, "answer": answer}) for row, answer in answers))
    with pytest.warns(InputWarning, match="2 rows were rejected or ignored"):
        assert read_table(tmp_path / "t.jsonl").values("text") == ["chest pain", "knee"]


def test_folders_and_patterns(tmp_path: Path) -> None:
    for name, row in zip(("b.csv", "a.csv"), ROWS, strict=True):
        (tmp_path / name).write_text(f"text,label\n{row['text']},{row['label']}\n")
    (tmp_path / "notes.txt").write_text("not a table")
    for source in (tmp_path, tmp_path / "*.csv"):
        assert read_table(source).values("text") == ["knee", "chest pain"]
    (tmp_path / "c.csv").write_text("text,kind\nx,y\n")
    with pytest.raises(DataError, match=r"c\.csv has the columns 'text', 'kind', and a\.csv has 'text', 'label'"):
        read_table(tmp_path)


BAD_FILES = {
    "columns of pandas": ("t.json", b'{"text": {"0": "a"}}', "array of objects"),
    "broken": ("t.json", b'[{"text": ', "is not JSON"),
    "numbers": ("t.json", b"[1, 2]", "row 1: must be an object"),
    "Label Studio": ("t.json", b'[{"id": 1, "data": {"text": "a"}, "annotations": []}]', "JSON-MIN or CSV"),
    "no gzip": ("t.csv.gz", b"text,label\n", "cannot be read"),
    "half a gzip": ("t.csv.gz", gz(CSV)[:-9], "cannot be read"),
    "gzip of nothing known": ("t.xlsx.gz", gz(CSV), "unknown kind of table"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files(tmp_path: Path, case: str) -> None:
    name, content, words = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_table(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manyheads.data.tables.table._LEAST_BOMB", 1000)
    (tmp_path / "t.csv.gz").write_bytes(gz("text\n" + "a" * 1_000_000))
    with pytest.raises(DataError, match="decompress it first"):
        read_table(tmp_path / "t.csv.gz")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder without tables"):
        read_table(tmp_path)


# --- texts ----------------------------------------------------------------------------------------

TEXTS = ["chest pain", "knee"]
LISTS: dict[str, Any] = {
    "a tuple": tuple(TEXTS), "numpy": np.array(TEXTS), "numpy objects": np.array(TEXTS, dtype=object),
    "pandas": pd.Series(TEXTS), "polars": pl.Series(TEXTS), "pyarrow": pa.array(TEXTS),
    "chunks": pa.chunked_array([TEXTS[:1], TEXTS[1:]]), "a generator": (text for text in TEXTS),
    "keys": dict.fromkeys(TEXTS).keys(), "a pandas category": pd.Series(TEXTS, dtype="category"),
}  # fmt: skip
NO_LISTS: dict[str, tuple[Any, str]] = {
    "a string": ("chest pain", r"wrap it in a list: \[text\]"),
    "bytes": (b"chest", "give a list"),
    "a number": (5, "give a list"),
    "nothing": (None, "give a list"),
    "a set": (set(TEXTS), "a set has no order"),
    "a dict": ({"text": TEXTS}, r"data\['text'\]"),
    "a DataFrame": (pd.DataFrame({"text": TEXTS}), r"table\['text'\]"),
    "a polars frame": (pl.DataFrame({"text": TEXTS}), r"table\['text'\]"),
    "a pyarrow table": (pa.table({"text": TEXTS}), r"table\['text'\]"),
    "an open file": (io.StringIO("text\nchest pain\n"), "splitlines"),
    "a path": (Path("notes.csv"), "give a list"),
    "numbers": ([1, 2], "row 1: a text must be a string"),
    "dicts": ([{"text": "a"}], "row 1: a text must be a string"),
}


@pytest.fixture(scope="module")
def model(saved: Saved) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("label", mh.Multiclass(labels=["a", "b"]))
    mh.train(model, ROWS * 3, "text", eval_fraction=0)
    return model


@pytest.mark.parametrize("kind", LISTS)
def test_any_list_of_texts(model: mh.HeadedModel, kind: str) -> None:
    assert (model.predict(LISTS[kind]).logits["label"] == model.predict(TEXTS).logits["label"]).all()


@pytest.mark.parametrize("kind", NO_LISTS)
def test_what_is_no_list_of_texts(model: mh.HeadedModel, kind: str) -> None:
    given, words = NO_LISTS[kind]
    with pytest.raises(TextError, match=words) as caught:
        model.predict(given)
    assert "\n" not in str(caught.value)


def test_pairs_and_single_texts_are_not_confused(model: mh.HeadedModel, saved: Saved) -> None:
    with pytest.raises(TextError, match="'label': was trained on single texts"):
        model.predict([("chest pain", "knee")])
    pairs = mh.HeadedModel.from_pretrained(saved("bert"))
    pairs.add_head("label", mh.Multiclass(labels=["a", "b"]))
    mh.train(pairs, [{**row, "other": f"x {n}"} for n, row in enumerate(ROWS * 3)], ("text", "other"), eval_fraction=0)
    with pytest.raises(TextError, match=r"'label': was trained on pairs of texts.*'text', 'other'"):
        pairs.predict(TEXTS)
    assert len(pairs.predict([("chest pain", "x")])) == 1
