"""fit_decision and what decisions change in predictions and tables: in Python, in columns, on the command line."""

from __future__ import annotations

import csv
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

LABELS = ("routine", "urgent", "emergency")
ROWS = [
    {
        "note": f"{TEXTS[row % len(TEXTS)]} {row}",
        "urgency": LABELS[(row % len(TEXTS)) % 3 if row % 7 else row % 2],
        "age": row,
        "topics": [["a"], ["b", "c"], ["a", "c"]][row % 3],
    }
    for row in range(120)
]


@pytest.fixture(scope="module")
def trained(saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(labels=LABELS, reads=mh.Hidden()))
    model.add_head("order", mh.Ordinal(labels=LABELS, column="urgency", reads=mh.Hidden()))
    model.add_head("topics", mh.MultiLabel(labels=["a", "b", "c"], reads=mh.Hidden()))
    model.add_head("age", mh.Regression(reads=mh.Hidden()))
    mh.train(model, ROWS, text="note", method=mh.Frozen(l2=0.1), eval_fraction=0.0)
    folder = tmp_path_factory.mktemp("models") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def model(trained: Path) -> mh.HeadedModel:
    return mh.HeadedModel.from_pretrained(trained)


@pytest.fixture(scope="module")
def unchanged(trained: Path) -> mh.HeadedModel:
    """A model that no test changes."""
    model = mh.HeadedModel.from_pretrained(trained)
    model.add_head("untrained", mh.Multiclass(labels=LABELS, column="urgency", reads=mh.Hidden()))
    return model


@pytest.mark.parametrize("head", ["urgency", "order"])
def test_goals_combine_into_one_decision(model: mh.HeadedModel, head: str) -> None:
    texts = [str(row["note"]) for row in ROWS]
    before = model.predict(texts, [head]).logits[head].copy()
    temperature = model.heads[head].decision.temperature
    costs = {"emergency": {"routine": 10, "urgent": 4}}
    fit = mh.fit_decision(model, head, ROWS, "note", max_error=0.4, set_coverage=0.9, costs=costs)
    assert model.heads[head].decision is fit.decision
    assert fit.decision.temperature == temperature
    assert (fit.decision.set_coverage, fit.decision.max_error, fit.decision.confidence) == (0.9, 0.4, None)
    assert fit.decision.abstain_by == "entropy"
    assert fit.decision.costs == ((0, 1, 1), (1, 0, 1), (10, 4, 0))
    assert fit.rows == len(ROWS)
    assert len(fit.promises) == 3
    # The head alone, as it was fitted: a product with the weights of other heads may round a score otherwise.
    predictions = model.predict(texts, [head])
    assert np.array_equal(predictions.logits[head], before)  # L26
    answered = [row[head] for row in predictions if not row[head].abstained]
    truths = [row["urgency"] for row, one in zip(ROWS, predictions, strict=True) if not one[head].abstained]
    assert len(answered) / len(ROWS) == fit.measures["answered"]
    wrong = [one.label != truth for one, truth in zip(answered, truths, strict=True)]
    assert np.mean(wrong) == fit.measures["error"] <= 0.4
    covered = [row["urgency"] in one[head].set for row, one in zip(ROWS, predictions, strict=True)]  # type: ignore[operator]
    assert np.mean(covered) == fit.measures["set_coverage"] >= 0.9
    for one in predictions:
        prediction = one[head]
        assert prediction.set is not None
        assert prediction.label in prediction.set
        expected = np.array(list(prediction.scores.values())) @ np.array(fit.decision.costs)
        assert prediction.label == LABELS[int(expected.argmin())]
        assert prediction.cost == pytest.approx(expected.min())
    assert "abstained=" in repr(predictions[0][head])


def test_what_is_not_asked_for_stays(model: mh.HeadedModel) -> None:
    first = mh.fit_decision(model, "urgency", ROWS, "note", answered=0.9, abstain_by="probability").decision
    second = mh.fit_decision(model, "urgency", ROWS, "note", set_coverage=0.8, set_by="aps").decision
    assert (second.abstain_below, second.abstain_by) == (first.abstain_below, "probability")
    third = mh.fit_decision(model, "urgency", ROWS, "note", costs=np.ones((3, 3)) - np.eye(3)).decision
    assert (third.abstain_below, third.set_threshold) == (None, None)  # both were fitted to the labels without costs
    fourth = mh.fit_decision(model, "urgency", ROWS, "note", max_error=0.5).decision
    assert (fourth.costs, fourth.max_error) == (third.costs, 0.5)
    fifth = mh.fit_decision(model, "urgency", ROWS, "note", answered=0.9).decision
    assert (fifth.costs, fifth.max_error) == (third.costs, None)


@pytest.mark.parametrize("goal", ["f1", {"precision": 0.6}, {"recall": 0.8}])
def test_thresholds_of_several_labels(model: mh.HeadedModel, goal: Any) -> None:
    before = model.heads["topics"].decision
    fit = mh.fit_decision(model, "topics", ROWS, "note", thresholds=goal)
    scores = model.predict([str(row["note"]) for row in ROWS]).scores["topics"]
    truth = np.array([[label in row["topics"] for label in "abc"] for row in ROWS])  # type: ignore[operator]
    chosen = scores >= np.array(fit.decision.thresholds, dtype=np.float32)
    if goal == "f1":
        assert fit.measures["f1"] > 0
        return
    if "recall" in goal:
        assert ((chosen & truth).sum(axis=0) / truth.sum(axis=0) >= 0.8).all()
        return
    kept = np.array(fit.decision.thresholds) == np.array(before.thresholds or [0.5] * 3)
    precision = (chosen & truth).sum(axis=0) / np.maximum(chosen.sum(axis=0), 1)
    assert (precision[~kept] >= 0.6).all()


def test_python_columns_and_command_line_show_the_same(
    model: mh.HeadedModel, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """L29."""
    mh.fit_decision(model, "urgency", ROWS, "note", answered=0.8, set_coverage=0.9, costs=np.ones((3, 3)) - np.eye(3))
    model.save_pretrained(tmp_path / "model")
    texts = [{"note": row["note"]} for row in ROWS[:40]]
    predictions = model.predict([str(row["note"]) for row in texts], heads=["urgency"])
    columns = predictions.columns()
    names = ["urgency_label", "urgency_score", "urgency_cost", "urgency_abstained", "urgency_set"]
    assert list(columns) == names
    mh.Predictor(model).score_table(texts, tmp_path / "s.parquet", text="note", heads=["urgency"])
    table = pq.read_table(tmp_path / "s.parquet")
    (tmp_path / "new.csv").write_text("note\n" + "".join(f'"{row["note"]}"\n' for row in texts))
    assert called("predict", tmp_path / "model", tmp_path / "new.csv", "-H", "urgency", "-o", tmp_path / "s.csv") == 0
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, one in enumerate(predictions):
        prediction = one["urgency"]
        shown = (prediction.label, prediction.score, prediction.cost, prediction.abstained, prediction.set)
        assert (*(columns[name][row] for name in names[:4]), tuple(columns[names[4]][row])) == shown  # type: ignore[arg-type]
        cells = [table.column(name)[row].as_py() for name in names]
        assert (*cells[:4], tuple(cells[4])) == shown
        assert rows[row]["urgency_label"] == prediction.label
        assert rows[row]["urgency_abstained"] == str(prediction.abstained).lower()
        assert tuple(json.loads(rows[row]["urgency_set"])) == prediction.set
        assert float(rows[row]["urgency_cost"]) == pytest.approx(prediction.cost, rel=1e-4)
    assert columns["urgency_abstained"].dtype == bool  # type: ignore[union-attr]


def test_neutral_decisions_add_nothing(unchanged: mh.HeadedModel) -> None:
    predictions = unchanged.predict(TEXTS, heads=["urgency"])
    prediction = predictions[0]["urgency"]
    assert (prediction.abstained, prediction.set, prediction.cost) == (None, None, None)
    assert list(predictions.columns()) == ["urgency_label", "urgency_score"]


@pytest.mark.parametrize("kind", [mh.Multiclass, mh.Ordinal])
def test_metrics_and_mistakes_are_of_the_labels_that_costs_predict(saved: Callable[[str], Path], kind: Any) -> None:
    """L29: training keeps the costs of a head."""
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", kind(labels=LABELS, reads=mh.Hidden()))
    model.heads["urgency"].decision = mh.Decision(costs=[[0, 1, 1], [1, 0, 1], [90, 90, 0]])
    fresh = ROWS[:40]
    result = mh.train(model, ROWS[40:], text="note", method=mh.Frozen(l2=0.1), eval_data=fresh)
    assert model.heads["urgency"].decision.costs is not None
    predicted = [row["urgency"].label for row in model.predict([str(row["note"]) for row in fresh])]
    wrong = [number for number, row in enumerate(fresh) if predicted[number] != row["urgency"]]
    assert result.metrics["urgency"]["accuracy"] == 1 - len(wrong) / len(fresh)
    assert sorted(mistake.row for mistake in result.mistakes("urgency")) == wrong
    assert all(mistake.prediction == predicted[mistake.row] for mistake in result.mistakes("urgency"))


def called(*arguments: object) -> int:
    """Run the command line in this process and return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["manyheads", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            sys.exit(main())
    return int(stopped.value.code or 0)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def copied(model: mh.HeadedModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path / "model")
    with (tmp_path / "valid.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in ROWS)
    return tmp_path


def test_decide_replaces_only_the_decision(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied / "model"
    (folder / "mine.txt").write_text("a file of the user's")
    before = contents(folder)
    assert called("decide", folder, copied / "valid.jsonl", "--head", "urgency", "--max-error", 0.4, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    after = contents(folder)
    assert {name for name in after if after[name] != before.get(name)} == {"heads.json"}
    assert set(after) == set(before)
    old, new = (json.loads(found["heads.json"]) for found in (before, after))
    assert {key for key in new if new[key] != old[key]} == {"heads", "checksum"}
    decision = mh.HeadedModel.from_pretrained(folder).heads["urgency"].decision
    assert decision == mh.Decision(**shown["decision"])
    assert decision.abstain_below is not None
    assert shown["rows"] == len(ROWS)


def test_decide_saves_to_another_folder(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(copied / "model")
    (copied / "costs.csv").write_text("right,routine\nemergency,20\n")
    more = ("--head", "order", "--text", "note", "--costs", copied / "costs.csv", "--out", copied / "new")
    assert called("decide", copied / "model", copied / "valid.jsonl", *more) == 0
    assert "least expected cost" in capsys.readouterr().out
    assert contents(copied / "model") == before
    assert mh.HeadedModel.from_pretrained(copied / "new").heads["order"].decision.costs == (
        (0, 1, 1),
        (1, 0, 1),
        (20, 1, 0),
    )
    more = ("--head", "topics", "--thresholds", "recall=0.8")
    assert called("decide", copied / "new", copied / "valid.jsonl", *more) == 0
    assert "recall of at least 0.8" in capsys.readouterr().out


# What is wrong -> the head, the rows, the goals, and the error.
FEW = ROWS[:20]
SWAPPED = [{**row, "urgency": LABELS[LABELS.index(str(row["urgency"])) - 1]} for row in ROWS]
WRONG: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any], type[mh.ManyheadsError], str]] = {
    "no goal": ("urgency", ROWS, {}, mh.errors.HeadError, "needs a goal; give one of 'max_error'"),
    "unlabelled table": (
        "urgency", [{"note": "cough"}], {"answered": 0.9}, mh.errors.MissingColumnError, "no column 'urgency'"
    ),
    "empty labels": (
        "urgency", [{"note": "cough", "urgency": None}] * 20, {"answered": 0.9},
        mh.errors.LabelError, "all 20 labels",
    ),
    "unknown head": ("urgent", ROWS, {"answered": 0.9}, mh.errors.UnknownHeadError, "did you mean 'urgency'"),
    "untrained head": ("untrained", ROWS, {"answered": 0.9}, mh.errors.HeadError, "was not trained"),
    "unknown label": (
        "urgency", [*ROWS, {"note": "x", "urgency": "urgnt"}], {"answered": 0.9}, mh.errors.LabelError,
        r"'urgnt' \(row 121\).*did you mean 'urgent'",
    ),
    "share of 1": ("urgency", ROWS, {"set_coverage": 1}, mh.errors.HeadError, "set_coverage must be .* got 1"),
    "negative share": ("urgency", ROWS, {"max_error": -0.1}, mh.errors.HeadError, "max_error must be .* got -0.1"),
    "percent": ("urgency", ROWS, {"answered": 95}, mh.errors.HeadError, "answered must be .* got 95"),
    "confidence as text": (
        "urgency", ROWS, {"max_error": 0.4, "confidence": "high"},
        mh.errors.HeadError, "confidence must be .* got 'high'"
    ),
    "confidence alone": (
        "urgency", ROWS, {"confidence": 0.9, "set_coverage": 0.9},
        mh.errors.HeadError, "give max_error too",
    ),
    "two ways to abstain": (
        "urgency", ROWS, {"max_error": 0.4, "answered": 0.9},
        mh.errors.HeadError, "both say when",
    ),
    "unknown set score": (
        "urgency", ROWS, {"set_coverage": 0.9, "set_by": "asp"},
        mh.errors.HeadError, "did you mean 'aps'",
    ),
    "unknown abstention score": (
        "urgency", ROWS, {"answered": 0.9, "abstain_by": "logit"}, mh.errors.HeadError, "'logit' is not among"
    ),
    "sets of several labels": (
        "topics", ROWS, {"set_coverage": 0.9},
        mh.errors.HeadError, "MultiLabel has no set_coverage",
    ),
    "thresholds of one label": (
        "urgency", ROWS, {"thresholds": "f1"},
        mh.errors.HeadError, "Multiclass has no thresholds",
    ),
    "numbers": (
        "age", ROWS, {"answered": 0.9},
        mh.errors.HeadError, "Regression has no answered; its goals are: none",
    ),
    "unknown threshold goal": (
        "topics", ROWS, {"thresholds": {"f2": 0.9}},
        mh.errors.HeadError, "thresholds must be 'f1'",
    ),
    "too few rows to abstain": (
        "urgency", FEW, {"max_error": 0.05},
        mh.errors.DataError, "at least 100 labelled rows, got 20",
    ),
    "too few rows to be confident": (
        "urgency", FEW, {"max_error": 0.05, "confidence": 0.95},
        mh.errors.DataError, "at least 80 labelled rows, got 20"
    ),
    "too few rows to answer": (
        "urgency", FEW, {"answered": 0.96},
        mh.errors.DataError, "at least 24 labelled rows, got 20",
    ),
    "too few rows for sets": (
        "urgency", FEW, {"set_coverage": 0.98},
        mh.errors.DataError, "at least 49 labelled rows, got 20",
    ),
    "too few rows for F1": ("topics", ROWS[:5], {"thresholds": "f1"}, mh.errors.DataError, "at least 20 labels"),
    "no threshold": (
        "topics", FEW, {"thresholds": {"precision": 0.99}},
        mh.errors.DataError, "no threshold of any label",
    ),
    "too many errors": (
        "urgency", SWAPPED, {"max_error": 0.05},
        mh.errors.DataError, "no threshold keeps max_error=0.05",
    ),
    "small matrix": ("urgency", ROWS, {"costs": [[0, 1], [1, 0]]}, mh.errors.DataError, "must be 3 x 3 .* got 2 x 2"),
    "ragged matrix": ("urgency", ROWS, {"costs": [[0, 1], [1]]}, mh.errors.DataError, "must be 3 x 3"),
    "one number": ("urgency", ROWS, {"costs": 3}, mh.errors.DataError, "must be 3 x 3"),
    "costs of an unknown label": (
        "urgency", ROWS, {"costs": {"urgent": {"rutine": 1}}},
        mh.errors.LabelError, "'rutine' .* did you mean 'routine'"
    ),
    "a cost that is no number": (
        "urgency", ROWS, {"costs": {"urgent": {"routine": "much"}}}, mh.errors.DataError, "finite number, got 'much'"
    ),
    "an infinite cost": (
        "urgency", ROWS, {"costs": {"urgent": {"routine": float("inf")}}},
        mh.errors.DataError, "finite number",
    ),
    "costs without answers": ("urgency", ROWS, {"costs": {"urgent": 3}}, mh.errors.DataError, "needs a mapping"),
    "no such costs": ("urgency", ROWS, {"costs": "none.csv"}, mh.errors.DataError, "none.csv"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_one_line_and_changes_nothing(unchanged: mh.HeadedModel, case: str) -> None:
    head, rows, goals, error, message = WRONG[case]
    before = {name: one.decision for name, one in unchanged.heads.items()}
    with pytest.raises(error, match=message) as raised:
        mh.fit_decision(unchanged, head, rows, "note", **goals)
    assert "\n" not in str(raised.value)
    assert {name: one.decision for name, one in unchanged.heads.items()} == before


def test_confidence_names_its_extra(unchanged: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mapie.risk_control", None)
    with pytest.raises(mh.errors.MissingExtraError, match=r"manyheads\[evaluate\]"):
        mh.fit_decision(unchanged, "urgency", ROWS, "note", max_error=0.4, confidence=0.9)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--head", "urgency"), "needs a goal"),
        (("--head", "urgency", "--set-coverage", 1.5), "set_coverage must be"),
        (("--head", "urgnt", "--answered", 0.9), "did you mean 'urgency'"),
        (("--head", "topics", "--thresholds", "precision=most"), "'most' is not a number"),
        (("--head", "urgency", "--max-error", 0.001), "needs at least 5,000 labelled rows"),
        (("--head", "urgency", "--answered", 0.9, "--out", "{folder}/valid.jsonl"), "is not a folder"),
    ],
)
def test_decide_fails_in_one_line_and_writes_nothing(
    copied: Path, capsys: pytest.CaptureFixture[str], more: tuple[object, ...], words: str
) -> None:
    before = contents(copied / "model")
    arguments = [str(one).format(folder=copied) for one in more]
    assert called("decide", copied / "model", copied / "valid.jsonl", *arguments) == 1
    captured = capsys.readouterr()
    (message,) = [line for line in captured.err.splitlines() if line.startswith("manyheads: ")]
    assert words in message
    assert captured.out == ""
    assert contents(copied / "model") == before
    assert sorted(path.name for path in copied.iterdir()) == ["model", "valid.jsonl"]


def test_decide_leaves_other_folders_alone(saved: Callable[[str], Path], copied: Path, capsys: Any) -> None:
    assert called("decide", saved("bert"), copied / "valid.jsonl", "--head", "urgency", "--answered", 0.9) == 1
    assert "name another with --out" in capsys.readouterr().err
