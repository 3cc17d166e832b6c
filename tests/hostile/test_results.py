"""What a person sees of results: short, true, and pointing at thin evidence."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import manyheads as mh
from manyheads.runtime import progress

Saved = Callable[[str], Path]
WORDS = ["pain", "cough", "fall"]
ROWS = [
    {"text": f"{WORDS[n % 3]} {n}", "kind": WORDS[n % 3], "hours": float(n), "many": WORDS[: n % 3]} for n in range(45)
]
HEADS = {
    "kind": lambda: mh.Multiclass(labels=WORDS),
    "level": lambda: mh.Ordinal(labels=WORDS, column="kind"),
    "hours": lambda: mh.Regression(),
    "many": lambda: mh.MultiLabel(labels=WORDS[:2]),
    "found": lambda: mh.Tokens(labels=["pain"]),
}


@pytest.fixture(scope="module")
def trained(saved: Saved) -> tuple[mh.HeadedModel, mh.TrainResult]:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    for name, make in HEADS.items():
        model.add_head(name, make())
    rows = [{**row, "found": ["B-pain" if row["kind"] == "pain" else "O", "O"]} for row in ROWS]
    return model, mh.train(model, rows, "text", eval_fraction=0.25)


def test_reprs_are_short(trained: tuple[mh.HeadedModel, mh.TrainResult]) -> None:
    model, result = trained
    prediction = model.predict(["pain 3"])[0]
    assert repr(mh.Multiclass(labels=["a", "b"], dropout=0.2)) == "Multiclass(dropout=0.2, labels=('a', 'b'))"
    assert repr(prediction["kind"]).startswith("Prediction(label='")
    assert "scores" not in repr(prediction["kind"])
    assert len(repr(prediction["hours"])) < 40
    assert repr(result).startswith("TrainResult(kind: accuracy ")
    assert "\n" not in repr(result)
    assert len(repr(result)) < 600
    assert repr(model.predict(["pain 3"])) == "Predictions(1 rows, heads 'kind', 'level', 'hours', 'many', 'found')"


@pytest.mark.parametrize("head", HEADS)
def test_mistakes_are_the_rows_that_predictions_get_wrong(
    trained: tuple[mh.HeadedModel, mh.TrainResult], head: str
) -> None:
    model, result = trained
    texts = [str(ROWS[row]["text"]) for row in result.evaluated]
    predicted = dict(zip(result.evaluated, model.predict(texts), strict=True))
    found = result.mistakes(head)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert all(one.text == ROWS[one.row]["text"] for one in found)
    if head in ("kind", "level"):
        wrong = {row for row, answer in predicted.items() if answer[head].label != ROWS[row]["kind"]}
        assert {one.row for one in found} == wrong
        assert all(one.prediction == predicted[one.row][head].label for one in found)
        assert 1 - len(found) / len(predicted) == pytest.approx(result.metrics[head]["accuracy"])
    elif head == "many":
        assert {one.row for one in found} == {
            row for row, answer in predicted.items() if set(answer[head].labels) != set(ROWS[row]["many"])
        }
    elif head == "hours":
        assert np.mean([one.score for one in found]) == pytest.approx(
            result.metrics[head]["mean_absolute_error"], rel=1e-4
        )
    assert len(result.mistakes(head, most=1)) <= 1


def test_mistakes_of_an_unknown_head(trained: tuple[mh.HeadedModel, mh.TrainResult]) -> None:
    with pytest.raises(mh.errors.UnknownHeadError, match="no head 'kinds' was trained; did you mean 'kind'"):
        trained[1].mistakes("kinds")


def test_thin_evidence_is_pointed_out(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("kind", mh.Multiclass(labels=[*WORDS, "rare"]))
    rows = [*ROWS[:20], {"text": "rare 1", "kind": "rare"}]
    # Every evaluation row has one label, which is the most frequent one of training, and the head learned another.
    upside_down = [{"text": row["text"], "kind": "pain"} for row in rows if row["kind"] != "pain"]
    notes = " ".join(mh.train(model, rows, "text", eval_data=upside_down).notes)
    assert "1 label with one training row only, such as 'rare'" in notes
    assert "14 evaluation rows are too few" in notes
    assert "below 1.000, that of always predicting the most frequent label" in notes


def test_texts_beside_predictions(trained: tuple[mh.HeadedModel, mh.TrainResult]) -> None:
    predictions = trained[0].predict(["pain 3", "fall 1"], heads=["kind"])
    frame = predictions.to_pandas(texts=["pain 3", "fall 1"])
    assert list(frame.columns) == ["text", "kind_label", "kind_score"]
    with pytest.raises(mh.errors.InputError, match="got 1 for 2 predictions"):
        predictions.to_pandas(texts=["pain 3"])


def test_predictions_with_a_cache_read_no_text_twice(
    trained: tuple[mh.HeadedModel, mh.TrainResult], tmp_path: Path
) -> None:
    model = trained[0]
    calls: list[int] = []
    handle = model.core.backbone.stack.register_forward_hook(lambda *_: calls.append(1))
    first = model.predict(["pain 3", "fall 1"], heads=["kind"], cache=tmp_path / "cache")
    count = len(calls)
    again = model.predict(["fall 1", "pain 3"], heads=["kind"], cache=tmp_path / "cache")
    handle.remove()
    assert count > 0
    assert len(calls) == count
    # A product of the same rows in another order may differ in the last bit.
    np.testing.assert_allclose(first.logits["kind"], again.logits["kind"][::-1], rtol=1e-5)


ADDING = {name: make for name, make in HEADS.items() if name in ("kind", "many", "found")}


@pytest.mark.parametrize("head", ADDING)
def test_a_label_that_came_later(saved: Saved, tmp_path: Path, head: str) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head(head, ADDING[head]())
    rows = [{**row, "found": ["B-pain" if row["kind"] == "pain" else "O", "O"]} for row in ROWS]
    mh.train(model, rows, "text", eval_fraction=0)
    texts = ["pain 3", "fall 1"]
    before = model.predict(texts)
    model.heads[head].add_label("burn")
    after = model.predict(texts)
    old, new = (np.concatenate([np.atleast_2d(row) for row in one.logits[head]]) for one in (before, after))
    assert new[:, : old.shape[1]] == pytest.approx(old, abs=1e-4)
    assert (new[:, old.shape[1] :] < -7).all()
    model.save_pretrained(tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    assert again.heads[head].spec.labels[-1] == "burn"
    found = np.concatenate([np.atleast_2d(row) for row in again.predict(texts).logits[head]])
    assert np.array_equal(found, new)
    more = [{"text": f"burn {n}", "kind": "burn", "many": ["burn"], "found": ["B-burn", "O"]} for n in range(12)]
    mh.train(model, [*rows, *more], "text", eval_fraction=0)


NO_NEW_LABELS = {"a label twice": ("kind", "pain"), "an order": ("level", "burn"), "a number": ("hours", "burn")}


@pytest.mark.parametrize("case", NO_NEW_LABELS)
def test_labels_that_cannot_be_added(saved: Saved, case: str) -> None:
    head, label = NO_NEW_LABELS[case]
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head(head, HEADS[head]())
    with pytest.raises(mh.errors.HeadError):
        model.heads[head].add_label(label)
    assert model.heads[head].spec == HEADS[head]()


def test_a_log_has_lines_for_a_long_step(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    plain = progress.log_step
    monkeypatch.setattr(progress, "log_step", lambda message: (plain(message), told.set()))
    monkeypatch.setattr(progress, "_LONG", 0.01)
    with caplog.at_level(logging.INFO, logger="manyheads.progress"), progress.spinner("Hashing weights"):
        assert told.wait(60)
    assert caplog.messages[0] == "Hashing weights ..."
    assert caplog.messages[1].startswith("Hashing weights: done in ")


def test_a_log_has_a_line_for_every_epoch(saved: Saved, caplog: pytest.LogCaptureFixture) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("kind", mh.Multiclass(labels=WORDS))
    with caplog.at_level(logging.INFO, logger="manyheads.progress"):
        mh.train(model, ROWS, "text", mh.Full(epochs=2), eval_fraction=0.2)
    told = "\n".join(caplog.messages)
    for step in ("Epoch 1: kind: accuracy", "Epoch 2: kind"):
        assert step in told
    assert not any(character in told for character in "\r\x1b")


def test_python_programs_are_silent(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("kind", mh.Multiclass(labels=WORDS))
    mh.train(model, ROWS, "text", eval_fraction=0)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE 2000"), ("ACTIVE", "ACTIVE None")])
def test_waiting_threads_of_torch_spin_for_a_moment_only(given: str | None, expected: str) -> None:
    settings = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    environment = {key: value for key, value in os.environ.items() if key not in settings}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    program = f"import manyheads, os; print(*(os.environ.get(name) for name in {settings}))"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
