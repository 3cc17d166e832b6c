"""Scored tables whose rows, files, disk or fellow processes misbehave."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.runtime.locks import locked
from manyheads.scoring import outputs, plan
from tests.families import POSITIONS
from tests.hostile.killed_tables import small_model, small_table


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> mh.Predictor:
    return mh.Predictor(small_model(tmp_path_factory.mktemp("models") / "bert"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MOST_ROWS", 4)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return read_table(folder).to_arrow().to_pylist()


def errors_of(folder: Path) -> dict[int, str]:
    return {row: one["error"] for row, one in enumerate(rows_of(folder), start=1) if one["error"]}


BAD_ROWS: dict[str, tuple[str, bytes, dict[int, str]]] = {
    "a row of another width": ("a.csv", b"note,n\nmild,1\na,b,2\nrash,3\nburn,4\ncough,5\n", {2: "3 cells"}),
    "bytes that are not UTF-8": ("a.csv", b"note,n\nmild,1\nr\xfcsh,2\nburn,3\n", {2: "0xfc"}),
    "bytes in TSV": ("a.tsv", b"note\tn\nmild\t1\nr\xfcsh\t2\n", {2: "0xfc"}),
    "a line that is no JSON": ("a.jsonl", b'{"note": "mild"}\n{"note": "ra\n{"note": "burn"}\n', {2: "not JSON"}),
    "a line that is no object": ("a.jsonl", b'{"note": "mild"}\n5\n{"note": "burn"}\n', {2: "must be an object"}),
    "a line in Latin-1": ("a.jsonl", b'{"note": "mild"}\n{"note": "r\xfcsh"}\n', {2: "0xfc"}),
    "a text that is a number": ("a.jsonl", b'{"note": "mild"}\n{"note": 5}\n{"note": null}\n', {2: "got 5 (int)"}),
    "half a surrogate pair": ("a.jsonl", b'{"note": "mild"}\n{"note": "\\ud800"}\n', {2: "surrogate"}),
    "a compressed file": ("a.csv.gz", gzip.compress(b"note,n\nmild,1\na,b,2\n"), {2: "3 cells"}),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_costs_one_row(tmp_path: Path, predictor: mh.Predictor, case: str) -> None:
    """L31."""
    name, content, expected = BAD_ROWS[case]
    (tmp_path / name).write_bytes(content)
    summary = predictor.score_table(tmp_path / name, tmp_path / "out", text="note")
    found = errors_of(tmp_path / "out")
    assert found.keys() == expected.keys()
    assert all(word in found[row] for row, word in expected.items())
    assert summary.errors == len(expected)
    assert (summary.first_errors[0].row, summary.first_errors[0].error) == next(iter(found.items()))
    for row, one in enumerate(rows_of(tmp_path / "out"), start=1):
        assert (one["urgency_label"] in {"routine", "urgent"}) == (row not in expected)


def test_texts_that_are_no_utf8_in_parquet(tmp_path: Path, predictor: mh.Predictor) -> None:
    texts = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\4\0\0\0\6\0\0\0"), pa.py_buffer(b"mildr\xfc"))
    pq.write_table(pa.table({"note": texts, "n": [1, 2]}), tmp_path / "a.parquet")
    predictor.score_table(tmp_path / "a.parquet", tmp_path / "out", text="note")
    assert list(errors_of(tmp_path / "out")) == [2]


def test_a_text_that_the_tokenizer_cannot_read(
    tmp_path: Path, predictor: mh.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = predictor._model.tokenizer
    plain = type(tokenizer).__call__

    def call(self: Any, texts: Any, *arguments: Any, **options: Any) -> Any:
        if "poison" in texts:
            raise Exception("cannot")
        return plain(self, texts, *arguments, **options)

    monkeypatch.setattr(type(tokenizer), "__call__", call)
    rows = [{"note": "poison" if row == 2 else f"mild {row}"} for row in range(9)]
    predictor.score_table(rows, tmp_path / "out", text="note")
    assert {row: "cannot tokenize" in error for row, error in errors_of(tmp_path / "out").items()} == {3: True}


def test_a_long_text_is_an_error_of_its_row_on_request(tmp_path: Path, predictor: mh.Predictor) -> None:
    rows = [{"note": "mild"}, {"note": "pain " * (3 * POSITIONS)}, {"note": ""}]
    strict = mh.Predictor(predictor._model, long_text="error")
    summary = strict.score_table(rows, tmp_path / "out", text="note")
    assert list(errors_of(tmp_path / "out")) == [2]
    assert (summary.empty, summary.truncated, summary.errors) == (1, 0, 1)


def test_a_file_that_cannot_be_read_leaves_the_others(tmp_path: Path, predictor: mh.Predictor) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a", "b", "c"):
        pq.write_table(small_table(6), source / f"{name}.parquet")
    whole = (source / "b.parquet").read_bytes()
    (source / "b.parquet").write_bytes(whole[:-100])
    summary = predictor.score_table(source, tmp_path / "out", text="note")
    assert summary.rows == 12
    assert list(summary.failures) == [str(source / "b.parquet")]
    (source / "b.parquet").write_bytes(whole)
    summary = predictor.score_table(source, tmp_path / "out", text="note")
    assert (summary.rows, summary.resumed, dict(summary.failures)) == (18, 12, {})
    assert [row["id"] for row in rows_of(tmp_path / "out")] == [*range(6)] * 3


def test_a_file_that_breaks_off_in_the_middle(tmp_path: Path, predictor: mh.Predictor) -> None:
    packed = gzip.compress(b"note\n" + b"mild cough\n" * 9)
    (tmp_path / "a.csv.gz").write_bytes(packed[:-9])
    with pytest.raises(mh.errors.DataError, match=r"a\.csv\.gz: cannot be read"):
        predictor.score_table(tmp_path / "a.csv.gz", tmp_path / "out", text="note")
    assert not (tmp_path / "out").exists()


def test_other_columns_are_a_failure_of_their_file(tmp_path: Path, predictor: mh.Predictor) -> None:
    (tmp_path / "a.csv").write_text("note,n\nmild,1\n")
    (tmp_path / "b.csv").write_text("note\nmild\n")
    summary = predictor.score_table(tmp_path / "*.csv", tmp_path / "out", text="note")
    assert summary.rows == 1
    assert "has the columns 'note', and other files have 'note', 'n'" in summary.failures[str(tmp_path / "b.csv")]


def changed_weights(model: mh.HeadedModel) -> None:
    model.heads["urgency"].output.weight.data *= -1


def changed_decision(model: mh.HeadedModel) -> None:
    model.heads["urgency"].decision = mh.Decision(temperature=2.0)


def changed_backbone(model: mh.HeadedModel) -> None:
    next(model.backbone.parameters()).data += 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed_weights, ("model.heads.urgency.weights", "overwrite=True")),
        (changed_decision, ("model.heads.urgency.decision.temperature is 2.0, was null",)),
        (changed_backbone, ("model.backbone is",)),
    ],
)
def test_another_models_parts_are_refused(
    tmp_path: Path, change: Callable[[mh.HeadedModel], None], words: tuple[str, ...]
) -> None:
    model = small_model(tmp_path / "bert")
    mh.Predictor(model).score_table(small_table(6), tmp_path / "out", text="note")
    before = rows_of(tmp_path / "out")
    change(model)
    with pytest.raises(mh.errors.WrongManifestError) as refused:
        mh.Predictor(model).score_table(small_table(6), tmp_path / "out", text="note")
    assert all(word in str(refused.value) for word in words), refused.value
    assert rows_of(tmp_path / "out") == before
    mh.Predictor(model).score_table(small_table(6), tmp_path / "out", text="note", overwrite=True)
    assert rows_of(tmp_path / "out") != before


def test_other_input_and_settings_are_refused(tmp_path: Path, predictor: mh.Predictor) -> None:
    predictor.score_table(small_table(6), tmp_path / "out", text="note")
    with pytest.raises(mh.errors.WrongManifestError, match="has changed"):
        predictor.score_table(small_table(7), tmp_path / "out", text="note")
    with pytest.raises(mh.errors.WrongManifestError, match=r"settings\.max_length is 5, was null"):
        mh.Predictor(predictor._model, max_length=5).score_table(small_table(6), tmp_path / "out", text="note")
    with pytest.raises(mh.errors.WrongManifestError, match=r"settings\.heads is \[\"urgency\"\], was"):
        predictor.score_table(small_table(6), tmp_path / "out", text="note", heads=["urgency"])
    (tmp_path / "out" / "_manyheads" / "manifest.json").write_text("{")
    with pytest.raises(mh.errors.WrongManifestError, match="cannot be read"):
        predictor.score_table(small_table(6), tmp_path / "out", text="note")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, predictor: mh.Predictor) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(mh.errors.OutputExistsError, match="none that a scoring began"):
        predictor.score_table(small_table(6), tmp_path, text="note", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_two_scorers_on_one_folder(tmp_path: Path, predictor: mh.Predictor) -> None:
    predictor.score_table(small_table(6), tmp_path / "out", text="note")
    with (
        locked(tmp_path / "out" / "_manyheads" / "lock", "out"),
        pytest.raises(mh.errors.OutputError, match=rf"process {os.getpid()} on .* is writing it"),
    ):
        predictor.score_table(small_table(6), tmp_path / "out", text="note")
    assert predictor.score_table(small_table(6), tmp_path / "out", text="note").resumed == 6


@pytest.mark.parametrize("out", ["out", "scored.parquet"])
def test_a_full_disk_keeps_what_is_complete(
    tmp_path: Path, predictor: mh.Predictor, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    predictor.score_table(small_table(20), tmp_path / "whole" / out, text="note") if out == "out" else None
    plain, written = outputs.atomic_write, 0

    def full(path: Path, content: Any) -> None:
        nonlocal written
        written += 1
        if written > 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        plain(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "atomic_write", full)
        with pytest.raises(mh.errors.OutputError, match="No space left on device; what is complete is kept"):
            predictor.score_table(small_table(20), tmp_path / out, text="note")
    summary = predictor.score_table(small_table(20), tmp_path / out, text="note")
    assert (summary.rows, summary.resumed) == (20, 8)
    assert [row["id"] for row in rows_of(tmp_path / out)] == list(range(20))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(
    os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="permissions bind only ordinary users"
)
def test_a_read_only_folder(tmp_path: Path, predictor: mh.Predictor) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(mh.errors.OutputExistsError, match="not a writable folder"):
        predictor.score_table(small_table(6), tmp_path / "out", text="note")


@pytest.mark.usefixtures("ctrl_c_works")
def test_an_interrupted_scoring_goes_on(
    tmp_path: Path, predictor: mh.Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, written = outputs.atomic_write, 0

    def interrupted(path: Path, content: Any) -> None:
        nonlocal written
        written += 1
        if written == 3:
            signal.raise_signal(signal.SIGINT)
        plain(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(outputs, "atomic_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predictor.score_table(small_table(20), tmp_path / "out", text="note")
    assert predictor.score_table(small_table(20), tmp_path / "out", text="note").resumed == 8
    assert json.loads((tmp_path / "out" / "_manyheads" / "manifest.json").read_text())["inputs"][0]["rows"] == 20


def test_added_columns_need_free_names(tmp_path: Path, predictor: mh.Predictor) -> None:
    for taken in ("error", "text_flag", "urgency_label"):
        with pytest.raises(mh.errors.DataError, match=f"already has the columns '{taken}'"):
            predictor.score_table([{"note": "mild", taken: 1}], tmp_path / "out", text="note")
    assert not (tmp_path / "out").exists()
