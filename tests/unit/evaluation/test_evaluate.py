"""``evaluate`` and ``compare``: what they measure, what they say, and that they change nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.errors import DataError, HeadError, InputError, LabelError, MissingColumnError, UnknownHeadError
from manyheads.evaluation.slices import LEAST_ROWS
from tests.docs.samples import triage_table

Saved = Callable[[str], Path]
METHOD = mh.Frozen(cache=None, dtype="float32")
URGENCY = ["routine", "urgent", "emergency"]
HEADS: dict[str, Callable[[], mh.HeadSpec]] = {
    "urgency": lambda: mh.Multiclass(URGENCY),
    "level": lambda: mh.Ordinal(URGENCY, column="urgency"),
    "age": lambda: mh.Regression(),
    "visits": lambda: mh.Count(),
    "symptoms": lambda: mh.MultiLabel(["pain", "fever", "cough"]),
    "tags": lambda: mh.Tokens(["symptom"], words="spaces"),
}


def rows_of(times: int = 1) -> list[dict[str, Any]]:
    """Return triage notes, each text so many times, with a column for every head, and two to slice by."""
    rows: list[dict[str, Any]] = [dict(row) for _ in range(times) for row in triage_table()]
    for number, row in enumerate(rows):
        row["visits"] = len(row["note"]) // 10
        row["ward"] = ["north", "south", None][number % 3]
        row["hour"] = number % 24
    return rows


@pytest.fixture(scope="module")
def trained(saved: Saved) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    for name, make in HEADS.items():
        model.add_head(name, make())
    wrong = rows_of()
    for row in wrong[::3]:
        row["urgency"], row["symptoms"] = "urgent", ["cough"]  # so that there are mistakes
    mh.train(model, wrong, "note", method=METHOD, eval_fraction=0)
    model.heads["urgency"].decision = mh.Decision(temperature=2)
    return model


@pytest.fixture(scope="module")
def report(trained: mh.HeadedModel) -> mh.Report:
    return mh.evaluate(trained, rows_of(3), "note", by=["ward", "hour"])


def test_scores_and_answers_are_those_of_predict(trained: mh.HeadedModel, report: mh.Report) -> None:
    predictions = trained.predict([row["note"] for row in rows_of(3)])
    for name, head in report.heads.items():
        scored = head.evaluated.scored
        if head.kind == "tokens":
            assert all(map(np.array_equal, scored.scores, predictions.scores[name]))
        elif head.calibration is None:
            assert np.array_equal(scored.scores[:, 0], predictions.values[name])
        else:
            assert np.array_equal(scored.scores, predictions.scores[name])
        for mistake in report.mistakes(name):
            found = predictions[mistake.row][name]
            answer = {"multilabel": found.labels, "regression": found.value, "count": found.value}
            if head.kind != "tokens":
                assert mistake.prediction == answer.get(head.kind, found.label)
    wrong = report.mistakes("urgency")
    assert wrong
    assert [mistake.score for mistake in wrong] == [predictions[m.row]["urgency"].score for m in wrong]
    assert report.metrics["urgency"]["accuracy"] == 1 - len(report.mistakes("urgency", 100)) / 72


def test_a_report_is_plain_json_and_text(report: mh.Report) -> None:
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert set(plain["heads"]) == set(HEADS)
    assert plain["heads"]["urgency"]["metrics"]["accuracy"] == report.metrics["urgency"]["accuracy"]
    assert plain["heads"]["urgency"]["confusion"] == report.heads["urgency"].confusion.tolist()  # type: ignore[union-attr]
    text = str(report)
    assert max(map(len, text.splitlines())) <= 100
    for head in report.heads.values():
        assert f"{head.metrics[head.main_metric]:.3f}" in text
    assert "macro f1" in text
    assert "mean of the labels' F1" in text  # its formula
    assert "\n" not in repr(report)


def test_each_head_is_measured_on_its_own_labelled_rows(trained: mh.HeadedModel) -> None:
    rows = rows_of(2)
    for row in rows[:10]:
        row["urgency"] = None
    for row in rows[5:20]:
        row["symptoms"] = None
    rows[0] = dict.fromkeys(rows[0]) | {"note": "no label at all", "ward": "north", "hour": 1}
    rows[40]["urgency"] = "strange"
    found = mh.evaluate(trained, rows, "note", heads=["urgency", "symptoms"])
    assert {name: head.rows for name, head in found.heads.items()} == {"urgency": 38, "symptoms": 32}
    assert found.rows == 42
    urgency = found.heads["urgency"]
    assert urgency.unknown_labels == ("strange",)
    assert any("'strange'" in note for note in urgency.notes)
    assert any(mistake.truth == "strange" for mistake in found.mistakes("urgency"))
    assert found.joint is not None
    assert found.joint.rows == 28
    right = {m.row for name in found.heads for m in found.mistakes(name, 100)}
    labelled = [n for n in range(48) if n >= 20]
    assert found.joint.value == pytest.approx(np.mean([n not in right for n in labelled]))
    assert any("without a label of any head: 6 rows" in note for note in found.notes)


def test_slices_are_by_column_and_by_length_the_worst_first(report: mh.Report) -> None:
    slices = report.heads["urgency"].slices
    assert {"ward", "hour", "text length"} >= {one.column for one in slices} >= {"ward", "text length"}
    assert {one.value for one in slices if one.column == "ward"} == {"north", "south", None}
    assert [one.score for one in slices] == sorted(one.score for one in slices)
    assert all(one.rows >= LEAST_ROWS for one in slices)
    for one in slices:
        assert one.interval is not None
        assert one.interval.low <= one.score <= one.interval.high
    north = next(one for one in slices if one.value == "north")
    wrong = {mistake.row for mistake in report.mistakes("urgency", 100)}
    assert north.score == pytest.approx(np.mean([row not in wrong for row in range(0, 72, 3)]))
    assert report.heads["urgency"].small_slices > 0
    ages = report.heads["age"].slices
    assert [one.score for one in ages] == sorted(
        (one.score for one in ages), reverse=True
    )  # an error: the largest first


def test_empty_and_cut_texts_are_slices(trained: mh.HeadedModel) -> None:
    rows = rows_of(2)
    for row in rows[:24]:
        row["note"] = ""
    found = mh.evaluate(trained, rows, "note", heads=["urgency"], max_length=4)
    values = {(one.column, one.value): one.rows for one in found.heads["urgency"].slices}
    assert values["empty", True] == 24
    assert values["truncated", True] + values["truncated", False] == 48
    assert any("empty: 24 texts" in note for note in found.notes)


def test_evaluating_changes_nothing_whatever_the_labels(trained: mh.HeadedModel, tmp_path: Path) -> None:
    trained.save_pretrained(tmp_path / "before")
    rows = rows_of()
    for number, row in enumerate(rows):
        row["urgency"], row["age"] = ["strange", "routine"][number % 2], -number
        row["symptoms"], row["tags"] = ["pain"], ["O"] * len(row["note"].split())
    table = tmp_path / "table"
    table.mkdir()
    mh.evaluate(trained, rows, "note", heads=["urgency", "age", "symptoms", "tags"])
    trained.save_pretrained(tmp_path / "after")
    for name in ("heads.json", "heads.safetensors", "model.safetensors"):
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()


def test_a_head_trained_on_shuffled_labels_is_said_to_be_useless(saved: Saved) -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(["mild", "severe", "cough", "fever", "pain", "night"], 5)) for _ in range(400)]
    labels = draw.choice(["a", "b", "c"], 400, p=[0.5, 0.3, 0.2])
    rows = [{"text": text, "kind": str(label), "many": [str(label)]} for text, label in zip(texts, labels, strict=True)]
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("kind", mh.Multiclass(["a", "b", "c"]))
    model.add_head("many", mh.MultiLabel(["a", "b", "c"]))
    mh.train(model, rows[:200], "text", method=METHOD, eval_fraction=0)
    for train_data in (None, rows[:200]):
        found = mh.evaluate(model, rows[200:], "text", train_data=train_data)
        for head in found.heads.values():
            assert not head.baselines[0].beaten
            assert "may be useless" in head.verdict


def test_training_rows_make_baselines_as_they_would_be_trained(trained: mh.HeadedModel) -> None:
    rows = rows_of(2)
    found = mh.evaluate(trained, rows, "note", heads=["urgency", "tags"], train_data=rows_of())
    assert all(one.rows == 24 for head in found.heads.values() for one in head.baselines)
    assert [one.name for one in found.heads["urgency"].baselines] == ["majority", "tfidf"]
    assert [one.name for one in found.heads["tags"].baselines] == ["majority", "words"]
    assert found.heads["urgency"].baselines[1].metrics["accuracy"] == 1  # the same texts
    assert any("In the training table too, so that measures may be too good: 48 rows" in note for note in found.notes)


def test_bad_input_is_one_line(trained: mh.HeadedModel, saved: Saved) -> None:
    rows = rows_of()
    unlabelled = [{**row, "urgency": None} for row in rows]
    with pytest.raises(LabelError, match="all 24 labels in column 'urgency' are missing"):
        mh.evaluate(trained, unlabelled, "note")
    with pytest.raises(MissingColumnError, match=r"Head 'urgency'.*note"):
        mh.evaluate(trained, [{"note": "mild cough"}], "note")
    with pytest.raises(MissingColumnError, match="warp"):
        mh.evaluate(trained, rows, "note", by="warp")
    with pytest.raises(UnknownHeadError, match="urgancy"):
        mh.evaluate(trained, rows, "note", heads=["urgancy"])
    with pytest.raises(UnknownHeadError, match="urgancy"):
        mh.evaluate(trained, rows, "note", heads=["urgency"]).mistakes("urgancy")
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    with pytest.raises(HeadError, match="No head to evaluate"):
        mh.evaluate(model, rows, "note")
    model.add_head("urgency", mh.Multiclass(URGENCY))
    with pytest.raises(HeadError, match="No training of 'urgency'"):
        mh.evaluate(model, rows, "note")


def test_the_same_model_does_not_differ_and_a_better_one_does(
    trained: mh.HeadedModel, report: mh.Report, saved: Saved
) -> None:
    rows = rows_of(3)
    assert mh.compare([report, report]).real == []
    better = mh.HeadedModel.from_pretrained(saved("gpt2"))
    better.add_head("urgency", mh.Multiclass(URGENCY[::-1]))  # labels in another order
    mh.train(better, rows_of(), "note", method=METHOD, eval_fraction=0)
    found = mh.compare({"old": report, "new": mh.evaluate(better, rows, "note")})
    assert set(found.left_out) == set(HEADS) - {"urgency"}
    accuracy = found.differences[0]
    assert (accuracy.metric, accuracy.main, accuracy.better) == ("accuracy", True, "second")
    assert accuracy.difference == accuracy.second - accuracy.first > 0
    losses = next(one for one in found.differences if one.metric == "log_loss")
    assert losses.better == "second"
    assert losses.difference < 0
    text = str(found)
    assert max(map(len, text.splitlines())) <= 100
    assert "new" in text


def test_only_reports_on_the_same_rows_are_compared(trained: mh.HeadedModel, report: mh.Report) -> None:
    fewer = mh.evaluate(trained, rows_of(2), "note", heads=["urgency"])
    with pytest.raises(DataError, match="'urgency': 72 labelled rows in one report, 48 in the other"):
        mh.compare([report, fewer])
    other = mh.evaluate(trained, rows_of(3)[::-1], "note", heads=["urgency"])
    with pytest.raises(DataError, match="labelled row 1 is"):
        mh.compare([report, other])
    ages = mh.evaluate(trained, rows_of(2), "note", heads=["age"])
    with pytest.raises(InputError, match="'urgency'"):
        mh.compare([fewer, ages])
    with pytest.raises(InputError, match="takes two reports, got 1"):
        mh.compare([report])


def test_decisions_are_measured_as_they_decide(trained: mh.HeadedModel) -> None:
    rows, head = rows_of(3), trained.heads["urgency"]
    texts, before = [row["note"] for row in rows], head.decision
    cost = np.array([[0, 1, 1], [1, 0, 5], [20, 20, 0]], dtype=float)
    head.decision = mh.Decision(abstain_below=0.6, abstain_by="probability", set_threshold=0.7, costs=cost.tolist())
    try:
        found = mh.evaluate(trained, rows, "note", heads=["urgency"]).heads["urgency"]
        predictions = [one["urgency"] for one in trained.predict(texts)]
    finally:
        head.decision = before
    true = [URGENCY.index(row["urgency"]) for row in rows]
    decided = [URGENCY.index(one.label) for one in predictions]
    favored = [max(range(3), key=lambda k: one.scores[URGENCY[k]]) for one in predictions]
    answers = np.array([not one.abstained for one in predictions])
    assert found.metrics["accuracy"] == pytest.approx(np.mean(np.equal(true, decided)))
    assert found.answered is not None
    assert 0 < found.answered.rows == answers.sum() < 72
    assert found.answered.metrics["accuracy"] == pytest.approx(np.mean(np.equal(true, decided)[answers]))
    assert found.costs is not None
    assert found.costs.decided == pytest.approx(cost[true, decided].mean())
    assert found.costs.favored == pytest.approx(cost[true, favored].mean())
    assert found.costs.answered == pytest.approx(cost[true, decided][answers].mean())
    assert found.sets is not None
    assert found.sets.covered == np.mean(
        [row["urgency"] in one.set for row, one in zip(rows, predictions, strict=True)]
    )
    assert found.sets.size == np.mean([len(one.set) for one in predictions])
    confident = np.array([max(one.scores.values()) for one in predictions])
    assert found.risk_coverage is not None
    assert found.risk_coverage.confidence[0] == pytest.approx(confident.max())


def test_one_row_one_text_and_one_label_are_measured(trained: mh.HeadedModel) -> None:
    row = rows_of()[0]
    for rows in ([row], [row] * 25):
        found = mh.evaluate(trained, rows, "note", by="ward")
        assert all(head.rows == len(rows) for head in found.heads.values())
        assert [one.name for one in found.heads["urgency"].baselines] == ["majority"]  # TF-IDF needs two texts
        assert np.isnan(found.metrics["age"]["r2"])
        assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["heads"]["age"]["metrics"]["r2"] is None
        assert "few" in str(found) or len(rows) == 25
    one_label = [row for row in rows_of() if row["urgency"] == "routine"]
    found = mh.evaluate(trained, one_label, "note", heads=["urgency", "level"])
    assert np.isnan(found.metrics["urgency"]["roc_auc"])
    assert found.metrics["urgency"]["accuracy"] == found.metrics["urgency"]["balanced_accuracy"]


def test_words_that_were_all_cut_off_are_an_error(trained: mh.HeadedModel) -> None:
    rows = [{**row, "tags": [None] * 3 + row["tags"][3:]} for row in rows_of() if len(row["tags"]) > 4]
    with pytest.raises(LabelError, match="'tags': no labelled word has a token"):
        mh.evaluate(trained, rows, "note", heads=["tags"], max_length=2)
