"""Tables scored in parts: the answers of ``predict``, in the columns of one schema."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import manyheads as mh
from manyheads.data.tables.table import read_table
from manyheads.scoring import outputs, plan
from tests.hostile.killed_tables import small_model, small_table
from tests.unit.cli.test_app import called


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> mh.HeadedModel:
    model = small_model(tmp_path_factory.mktemp("models") / "bert")
    head = model.add_head("sites", mh.Tokens(["arm", "leg"], scheme="plain"))
    head.trained = True
    model.heads["urgency"].decision = mh.Decision(set_threshold=0.6)
    return model


@pytest.fixture(scope="module")
def folder(model: mh.HeadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(out)
    return out


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_MOST_ROWS", 4)


def test_parts_have_the_answers_of_predict_and_one_schema(tmp_path: Path, model: mh.HeadedModel) -> None:
    table = small_table(30)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    summary = mh.Predictor(model).score_table(tmp_path / "a.parquet", tmp_path / "out", text="note")
    parts = sorted((tmp_path / "out").glob("*.parquet"))
    assert len(parts) == 8
    schemas = [pq.read_schema(part) for part in parts]
    assert all(schema.equals(schemas[0]) for schema in schemas)
    assert schemas[0].field("symptoms_labels").type == pa.list_(pa.string())
    assert schemas[0].names[-2:] == ["text_flag", "error"]
    scored, expected = pa.concat_tables(map(pq.read_table, parts)), model.predict(table.column("note").to_pylist())
    assert scored.column("id").equals(table.column("id"))
    for name, values in expected.columns().items():
        found = scored.column(name)
        if isinstance(values, np.ndarray):
            np.testing.assert_allclose(found.to_numpy(), values, atol=1e-5)
        elif not name.endswith("_spans"):
            assert found.to_pylist() == list(values)
    flagged = [flag == "empty" for flag in scored.column("text_flag").to_pylist()]
    assert flagged == expected.empty.tolist()
    assert (summary.rows, summary.resumed, summary.empty) == (30, 0, sum(flagged))
    assert mh.Predictor(model).score_table(tmp_path / "a.parquet", tmp_path / "out", text="note").resumed == 30


def test_one_file_has_only_the_columns_that_say_something(tmp_path: Path, model: mh.HeadedModel) -> None:
    rows = [{"note": "mild", "id": row} for row in range(9)]
    mh.Predictor(model).score_table(rows, tmp_path / "scored.jsonl", text="note", heads=["urgency"])
    names = ["note", "id", "urgency_label", "urgency_score", "urgency_set"]
    assert list(read_table(tmp_path / "scored.jsonl").columns) == names
    with pytest.raises(mh.errors.OutputExistsError, match="already exists"):
        mh.Predictor(model).score_table(rows, tmp_path / "scored.jsonl", text="note")
    rows[5]["note"] = ""
    predictor = mh.Predictor(model)
    predictor.score_table(rows, tmp_path / "scored.jsonl", text="note", heads=["urgency"], overwrite=True)
    assert list(read_table(tmp_path / "scored.jsonl").columns) == [*names, "text_flag"]
    assert [path.name for path in tmp_path.iterdir()] == ["scored.jsonl"]


def test_pairs_and_lists_of_words(tmp_path: Path, model: mh.HeadedModel) -> None:
    rows = [{"a": "mild cough", "b": "rash" if row % 2 else None} for row in range(6)]
    mh.Predictor(model).score_table(rows, tmp_path / "pairs", text=["a", "b"], heads=["urgency"])
    expected = model.predict([(row["a"], row["b"] or "") for row in rows], heads=["urgency"])
    found = read_table(tmp_path / "pairs").values("urgency_score")
    np.testing.assert_allclose(found, expected.columns()["urgency_score"], atol=1e-5)  # type: ignore[arg-type]
    words = [{"note": "['swollen', 'arm']"}, {"note": '["pale"]'}] * 3
    mh.Predictor(model).score_table(words, tmp_path / "words", text="note", heads=["sites"])
    spans = [len(cell) for cell in read_table(tmp_path / "words").values("sites_spans")]  # type: ignore[arg-type]
    assert spans == [2, 1] * 3


def test_the_command_scores_a_pattern_into_a_folder(tmp_path: Path, folder: Path, capsys: Any) -> None:
    for name, rows in (("a", "mild\nrash\n"), ("b", "burn\n")):
        (tmp_path / f"{name}.csv").write_text(f"note\n{rows}")
    call = ("predict", folder, f"{tmp_path}/*.csv", "--text", "note", "--out", f"{tmp_path}/out/")
    assert called(*call) == 0
    assert "3 rows predicted with 3 heads" in capsys.readouterr().err
    assert read_table(tmp_path / "out").values("note") == ["mild", "rash", "burn"]
    assert called(*call, "--json") == 0
    assert '"resumed": 3' in capsys.readouterr().out


def test_exit_codes_tell_files_from_rows(tmp_path: Path, folder: Path, capsys: Any) -> None:
    (tmp_path / "a.csv").write_text("note\nmild\nra,sh\n")
    call = ("predict", folder, "--text", "note")
    assert called(*call, tmp_path / "a.csv", "--out", tmp_path / "scored.tsv") == 3
    err = capsys.readouterr().err
    assert "Column error says why 1 row could not be predicted" in err
    assert f"{tmp_path / 'a.csv'}, row 2: the row has 2 cells" in err
    (tmp_path / "b.csv").write_text("")
    assert called(*call, f"{tmp_path}/*.csv", "--out", f"{tmp_path}/out/") == 1
    assert "1 file could not be read" in capsys.readouterr().err
    assert called(*call, tmp_path / "a.csv", "--out", "s3://bucket/out/") == 1
    assert "written to this machine only" in capsys.readouterr().err


@pytest.mark.usefixtures("ctrl_c_works")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_whole_parts_and_says_how_to_go_on(
    tmp_path: Path, folder: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    (tmp_path / "a.csv").write_text("note\n" + "mild\n" * 10)
    add: Callable[..., int] = outputs.Output.add

    def stopped(self: Any, part: Any, *arguments: Any) -> int:
        if part.number == 2:
            signal.raise_signal(number)
        return add(self, part, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(outputs.Output, "add", stopped)
        call = ("predict", folder, tmp_path / "a.csv", "--text", "note", "--out", f"{tmp_path}/out")
        assert called(*call) == code
    assert "interrupted; 2 parts complete in" in capsys.readouterr().err
    assert called(*call) == 0
    assert "10 rows predicted with 3 heads, 8 of them by an earlier run" in capsys.readouterr().err
