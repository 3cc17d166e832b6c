"""The command line, called as a person calls it, in this process."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import manyheads as mh
from manyheads.cli import main
from tests.families import TEXTS

Run = Callable[..., tuple[int, str, str]]


def called(*arguments: object) -> int:
    """Run the command line in this process and return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["manyheads", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            sys.exit(main())
    return int(stopped.value.code or 0)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = called(*arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def ads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "ads.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "ad", "job_type", "education", "topics"])
        for row in range(60):
            text = f"{TEXTS[row % len(TEXTS)]} {row}"
            education = ("0", "1", "")[row % 3]
            writer.writerow([row, text, ("full", "part")[row % 2], education, ("a|b", "b|c", "a|c")[row % 3]])
    return path


@pytest.fixture(scope="module")
def trained(ads: Path, tmp_path_factory: pytest.TempPathFactory, saved: Callable[[str], Path]) -> Path:
    out = tmp_path_factory.mktemp("models") / "model"
    heads = ("--head", "job_type", "--head", "level=education", "--head", "topics")
    assert called("train", ads, "--backbone", saved("bert"), "--text", "ad", *heads, "--out", out) == 0
    return out


def test_train_saves_a_model_with_its_heads(trained: Path) -> None:
    model = mh.HeadedModel.from_pretrained(trained)
    assert {name: head.spec.kind for name, head in model.heads.items()} == {
        "job_type": "multiclass",
        "level": "multiclass",
        "topics": "multilabel",
    }
    assert model.heads["level"].spec.labels == ("0", "1")
    assert model.heads["level"].summary["rows"]["train"] < model.heads["job_type"].summary["rows"]["train"]


def test_predict_keeps_the_columns_and_adds_scores(run: Run, trained: Path, ads: Path, tmp_path: Path) -> None:
    code, _, err = run("predict", trained, ads, "--out", tmp_path / "scored.parquet", "--all-scores")
    assert code == 0, err
    table = pq.read_table(tmp_path / "scored.parquet")
    added = ["job_type_label", "job_type_score", "job_type_score_full", "job_type_score_part"]
    assert table.column_names[:9] == ["id", "ad", "job_type", "education", "topics", *added]
    assert {"topics_labels", "level_label"} <= set(table.column_names)
    assert table.column("id").to_pylist() == [str(row) for row in range(60)]
    scores = mh.HeadedModel.from_pretrained(trained).predict(table.column("ad").to_pylist()).scores["job_type"]
    assert table.column("job_type_score_full").to_pylist() == pytest.approx(scores[:, 0].tolist(), abs=1e-6)


def test_predict_reads_standard_input_and_writes_standard_output(run: Run, trained: Path) -> None:
    code, out, err = run("predict", trained, "-", "--head", "job_type", stdin='ad,n\n"baker, mornings",1\n,2\n')
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["ad"] for row in rows] == ["baker, mornings", ""]
    assert [row["text_flag"] for row in rows] == ["", "empty"]
    assert all(row["job_type_label"] in {"full", "part"} for row in rows)
    assert "marks 1 empty" in err


def test_predict_reads_long_texts_in_windows_and_says_so(run: Run, trained: Path, tmp_path: Path) -> None:
    long = " ".join(TEXTS * 2)
    out = tmp_path / "scored.csv"
    options = ("--text", "ad", "--long-text", "mean", "--out", out)
    code, _, err = run("predict", trained, "-", *options, stdin=f'ad\n"{long}"\nburn\n')
    assert code == 0, err
    assert "Column text_flag marks 1 split text." in err
    rows = list(csv.DictReader(io.StringIO(out.read_text("utf-8"))))
    assert [row["text_flag"] for row in rows] == ["split", ""]
    found = mh.HeadedModel.from_pretrained(trained).predict([long], long_text="mean")
    assert float(rows[0]["job_type_score"]) == pytest.approx(found[0]["job_type"].score, abs=1e-5)
    reported = run("predict", trained, "-", *options, "--json", "--overwrite", stdin=f'ad\n"{long}"\n')[1]
    assert json.loads(reported)["split"] == 1


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_scored_table_can_be_read_again(run: Run, trained: Path, ads: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"scored{ending}"
    assert run("predict", trained, ads, "--out", out)[0] == 0
    from manyheads.data.tables.table import read_table

    assert read_table(out).rows == 60
    assert mh.infer_heads(out, ["topics_labels"])["topics_labels"].kind == "multilabel"


def test_json_is_for_machines(run: Run, trained: Path, ads: Path, tmp_path: Path) -> None:
    more = ("--text", "ad", "--head", "job_type", "--out", tmp_path / "again", "--json")
    code, out, err = run("train", ads, "--backbone", trained, *more)
    assert code == 0, err
    result = json.loads(out)
    assert result["lm_check"]["bit_identical"] is True
    assert set(result["metrics"]) == {"job_type"}
    assert set(mh.HeadedModel.from_pretrained(tmp_path / "again").heads) == {"job_type", "level", "topics"}
    facts = json.loads(run("inspect", trained, "--json")[1])
    assert facts["heads"]["level"]["spec"]["labels"] == ["0", "1"]
    reported = json.loads(run("predict", trained, ads, "--out", tmp_path / "s.csv", "--json")[1])
    assert (reported["rows"], reported["empty"]) == (60, 0)


def test_inspect_shows_heads_and_plain_checkpoints(run: Run, trained: Path, saved: Callable[[str], Path]) -> None:
    code, out, _ = run("inspect", trained)
    assert code == 0
    assert all(word in out for word in ("BertForMaskedLM", "job_type", "topics"))
    code, out, _ = run("inspect", saved("gpt2"))
    assert code == 0
    assert "GPT2LMHeadModel" in out


def test_inspect_shows_decisions(run: Run, trained: Path, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(trained)
    labels = len(model.heads["job_type"].spec.labels)  # type: ignore[attr-defined]
    costs = (1 - np.eye(labels)).tolist()
    sets = {"set_threshold": 0.8, "set_coverage": 0.9}
    decision = mh.Decision(temperature=1.25, abstain_below=0.5, max_error=0.02, **sets, costs=costs)
    model.heads["job_type"].decision = decision
    model.save_pretrained(tmp_path / "decided")
    shown = (
        "job_type: temperature 1.25, abstains below entropy 0.5 (at most 0.02 of the answers wrong), lac sets that "
        "cover 0.9, costs up to 1\n"
    )
    assert shown in run("inspect", tmp_path / "decided")[1]
    facts = json.loads(run("inspect", tmp_path / "decided", "--json")[1])
    assert mh.Decision(**facts["heads"]["job_type"]["decision"]) == decision


CASES = (
    "no such column",
    "no such label column",
    "no such weight column",
    "a label as weight",
    "reserved name",
    "slash in a name",
    "no such backbone",
    "empty table",
    "no such table",
    "output exists",
    "unknown engine",
    "workers of no cluster",
    "unknown ending",
    "unknown head",
    "not a number for a layer",
    "layer that is not there",
    "nothing to inspect",
)


def errors(ads: Path, trained: Path, bert: Path, folder: Path) -> dict[str, tuple[tuple[Any, ...], tuple[str, ...]]]:
    train = ("train", ads, "--backbone", bert, "--out", folder / "new")
    (folder / "empty.csv").write_text("")
    (folder / "taken.csv").write_text("x\n1\n")
    return {
        "no such column": ((*train, "--text", "advert", "--head", "job_type"), ("'advert'", "'ad'", "ads.csv")),
        "no such label column": ((*train, "--text", "ad", "--head", "jobtype"), ("'jobtype'", "'job_type'")),
        "no such weight column": ((*train, "--text", "ad", "--head", "job_type", "--weight", "ids"), ("'ids'", "'id'")),
        "a label as weight": (
            (*train, "--text", "ad", "--head", "number=id", "--weight", "id"),
            ("weight column 'id' is also the label column of head 'number'",),
        ),
        "reserved name": ((*train, "--text", "ad", "--head", "lm=job_type"), ("'lm'", "reserved")),
        "slash in a name": ((*train, "--text", "ad", "--head", "a/b=job_type"), ("'a/b'",)),
        "no such backbone": (
            ("train", ads, "--backbone", folder / "no", "--text", "ad", "--head", "job_type", "--out", folder / "new"),
            (str(folder / "no"),),
        ),
        "empty table": (("predict", trained, folder / "empty.csv", "--out", folder / "new.csv"), ("empty.csv",)),
        "no such table": (("predict", trained, folder / "none.csv", "--out", folder / "new.csv"), ("none.csv",)),
        "output exists": (("predict", trained, ads, "--out", folder / "taken.csv"), ("taken.csv", "--overwrite")),
        "unknown engine": (("predict", trained, ads, "--engine", "dask"), ("--engine", "'dask'")),
        "workers of no cluster": (("predict", trained, ads, "--workers", 2), ("--workers", "--engine ray")),
        "unknown ending": (("predict", trained, ads, "--out", folder / "new.xlsx"), ("new.xlsx", ".parquet")),
        "unknown head": (
            ("predict", trained, ads, "--head", "job", "--out", folder / "new.csv"),
            ("'job'", "'job_type'"),
        ),
        "not a number for a layer": (
            (*train, "--text", "ad", "--head", "job_type", "--layer", "top"),
            ("--layer", "'top'"),
        ),
        "layer that is not there": (
            (*train, "--text", "ad", "--head", "job_type", "--layer", "12"),
            ("12", "BertForMaskedLM"),
        ),
        "nothing to inspect": (("inspect", folder), (str(folder),)),
    }


@pytest.mark.parametrize("case", CASES)
def test_an_error_is_one_line_and_writes_nothing(
    run: Run, trained: Path, ads: Path, tmp_path: Path, saved: Callable[[str], Path], case: str
) -> None:
    arguments, words = errors(ads, trained, saved("bert"), tmp_path)[case]
    before = sorted(tmp_path.iterdir())
    code, out, err = run(*arguments)
    assert code == 1
    assert out == ""
    message = [line for line in err.splitlines() if line.startswith("manyheads: ")]
    assert len(message) == 1
    assert all(word in message[0] for word in words), message
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


def test_training_rejects_a_taken_folder_before_it_loads_anything(run: Run, ads: Path, trained: Path) -> None:
    code, _, err = run("train", ads, "--backbone", "/nowhere", "--text", "ad", "--head", "job_type", "--out", trained)
    assert code == 1
    assert str(trained) in err
    assert "contains a saved model" in err


def test_a_repeated_process_lets_the_first_print_the_error(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The launcher ends all processes as soon as one has failed, so the others wait to be ended."""
    waits: list[float] = []
    monkeypatch.setattr("manyheads.cli.app.time.sleep", waits.append)
    assert run("inspect", tmp_path / "none")[0] == 1
    assert waits == []
    monkeypatch.setenv("LOCAL_RANK", "1")
    code, _, err = run("inspect", tmp_path / "none")
    assert (code, len(waits)) == (1, 1)
    assert err.startswith("manyheads: ")
