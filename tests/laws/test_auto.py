"""``Auto`` trains as the method that it chooses, reads no evaluation label, and leaves the language model alone."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import manyheads as mh
from manyheads.training.auto import candidates
from manyheads.training.auto.run_watch import RunWatch
from tests.families import BY_NAME, WORDS, tokenizer_for
from tests.laws.oracle import HEADS, RECORDS, changed, snapshot, tags_of

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

FORK = mh.Fork(top=2, lr=5e-3, epochs=8)
FULL = mh.Full(lr=3e-3, epochs=2)


def notes(rows: int, shuffled: bool = False) -> list[dict[str, Any]]:
    """Return texts whose label is whether exactly one of two words is there: no linear head on the words can learn it.

    Args:
        rows: Number of texts.
        shuffled: Draw the labels instead.
    """
    draw = np.random.default_rng(0)
    found = []
    for row in range(rows):
        severe, pain, drawn = draw.integers(0, 2, 3).tolist()
        others = " ".join(WORDS[place] for place in draw.integers(20, len(WORDS), 2))
        text = f"{('mild', 'severe')[severe]} {others} {('fever', 'pain')[pain]} {row}"
        found.append({"text": text, "odd": ("no", "yes")[drawn if shuffled else severe ^ pain]})
    return found


def headed(family: str = "bert") -> mh.HeadedModel:
    torch.manual_seed(0)
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    model.add_head("odd", mh.Multiclass(["no", "yes"], reads=mh.Hidden()))
    return model


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare two methods, and a third one that changes the backbone."""
    monkeypatch.setattr(candidates, "KEEPING", (lambda blocks: mh.Frozen(), lambda blocks: FORK))
    monkeypatch.setattr(candidates, "CHANGING", (lambda blocks: FULL,))


def chosen(result: mh.TrainResult) -> str:
    (name,) = [candidate.name for candidate in result.candidates if candidate.chosen]
    return name


def compared(result: mh.TrainResult) -> list[dict[str, Any]]:
    """Return the candidates without their times."""
    return [{**candidate.record(), "seconds": 0} for candidate in result.candidates]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("rows", "method"),
    [(notes(360), FORK), (notes(240, shuffled=True), mh.Frozen())],
    ids=["labels that a fork can learn", "shuffled labels"],
)
def test_the_result_is_that_of_the_chosen_method_alone(rows: list[dict[str, Any]], method: Any) -> None:
    model, alone = headed(), headed()
    result = mh.train(model, rows, "text", mh.Auto(minutes=60))
    assert chosen(result) == candidates.name_of(method)
    expected = mh.train(alone, rows, "text", method)
    assert changed(model.core, snapshot(alone.core)) == []
    assert result.metrics == expected.metrics
    summary = model.heads["odd"].summary
    assert {key: summary[key] for key in method.describe()} == method.describe()


def test_l4_the_language_model_keeps_every_bit(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "KEEPING", (lambda blocks: FORK,))
    caplog.set_level(logging.INFO, "manyheads.progress")
    model = headed("gpt2")
    batch = model.tokenizer("severe pain since two hours", return_tensors="pt")
    backbone = snapshot(model.backbone)
    logits = model.backbone(**batch).logits
    result = mh.train(model, notes(360), "text", mh.Auto(minutes=60))
    assert chosen(result) == "Fork(top=2, lr=0.005)"
    assert result.lm_check.bit_identical
    assert changed(model.backbone, backbone) == []
    assert torch.equal(model.backbone(**batch).logits, logits)
    lines = [line for line in caplog.messages if line.startswith("Auto: ")]
    assert lines == [f"Auto: {candidate}" for candidate in result.candidates]


def test_l27_evaluation_labels_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    makers = [
        lambda blocks: mh.Frozen(),
        lambda blocks: mh.Fork(top=1, epochs=1),
        lambda blocks: mh.LoRA(r=2, epochs=1),
    ]
    monkeypatch.setattr(candidates, "KEEPING", makers)
    results = []
    for name, wrong in (("as given", False), ("corrupted", True)):
        rows = notes(260)
        evaluation = [{**row, "odd": "yes" if wrong else row["odd"]} for row in rows[220:]]
        model = headed()
        method = mh.Auto(minutes=60)
        results.append(mh.train(model, rows[:220], "text", method, eval_data=evaluation, out=tmp_path / name))
    assert results[0].metrics != results[1].metrics
    assert compared(results[0]) == compared(results[1])
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("as given", "corrupted")]
    assert files[0] == files[1]
    for file in set(files[0]) - {"heads.json", "README.md"}:  # both show the metrics
        assert (tmp_path / "as given" / file).read_bytes() == (tmp_path / "corrupted" / file).read_bytes()
    summaries = [
        json.loads((tmp_path / name / "heads.json").read_text("utf-8"))["heads"]["odd"]["summary"]["auto"]
        for name in ("as given", "corrupted")
    ]
    assert [one["name"] for one in summaries[0]["candidates"]] == [one["name"] for one in compared(results[0])]
    assert summaries[0]["why"] == summaries[1]["why"] == results[0].notes[0]
    assert load_file(tmp_path / "as given" / "heads.safetensors")


@pytest.mark.usefixtures("few")
def test_full_is_compared_only_where_the_language_model_may_change() -> None:
    model = headed()
    result = mh.train(model, notes(240, shuffled=True), "text", mh.Auto(minutes=60, keep_lm=False))
    assert [candidate.name for candidate in result.candidates][2] == "Full(lr=0.003)"
    assert result.candidates[2].seconds > 0
    assert chosen(result) == "Frozen()"
    assert result.lm_check.bit_identical


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("keep_lm", [True, False], ids=["Fork", "Full"])
def test_an_interruption_leaves_the_model_as_before(monkeypatch: pytest.MonkeyPatch, keep_lm: bool) -> None:
    model = headed()
    mh.train(model, notes(60), "text")
    before, taps, logits = snapshot(model.core), model.heads["odd"].taps, model.predict(["mild pain"]).logits["odd"]
    steps: list[int] = []

    def interrupt(watch: RunWatch, step: int, share: float) -> None:
        steps.append(step)
        if steps.count(2) == (1 if keep_lm else 2):
            raise KeyboardInterrupt

    monkeypatch.setattr(RunWatch, "after_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mh.train(model, notes(240), "text", mh.Auto(minutes=60, keep_lm=keep_lm))
    assert changed(model.core, before) == []
    assert model.heads["odd"].taps == taps
    assert not model.backbone.training
    assert all(parameter.grad is None for parameter in model.core.parameters())
    assert np.array_equal(model.predict(["mild pain"]).logits["odd"], logits)


@pytest.mark.usefixtures("few")
def test_methods_that_a_backbone_does_not_support_are_left_out_with_a_reason(saved: Callable[[str], Path]) -> None:
    model = mh.HeadedModel.from_pretrained(saved("bert"), dtype=torch.float16)
    model.add_head("odd", mh.Multiclass(["no", "yes"]))
    result = mh.train(model, notes(200), "text", mh.Auto(minutes=60, keep_lm=False), eval_fraction=0)
    reasons = {candidate.name.partition("(")[0]: candidate.reason for candidate in result.candidates}
    assert all("fp16 is too coarse" in reasons[name] for name in ("Fork", "Full"))
    assert reasons["Frozen"] == ""
    assert model.heads["odd"].trained


def test_every_kind_of_head_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    makers = [lambda blocks: mh.Frozen(), lambda blocks: mh.Fork(top=1, epochs=1)]
    monkeypatch.setattr(candidates, "KEEPING", makers)
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    for name, spec in {**HEADS, "visits": mh.Count()}.items():
        model.add_head(name, spec)
    rows: list[dict[str, Any]] = []
    for row, record in enumerate(RECORDS * 10):
        text = f"{record['text']} {row}"
        rows.append({**record, "text": text, "visits": row % 4, "found": tags_of(text)})
        if row % 7 == 0:
            rows[-1]["urgency"] = None
    result = mh.train(model, rows, "text", mh.Auto(minutes=60), eval_fraction=0)
    for candidate in result.candidates:
        assert candidate.reason == "" or candidate.reason.startswith("clearly worse than Frozen() for ")
        assert set(candidate.losses) == set(model.heads)
        assert candidate.loss is not None
        assert 0 < candidate.loss < 2  # a share of what constants lose


def test_few_rows_are_solved_and_a_note_says_so() -> None:
    result = mh.train(headed(), notes(60), "text", mh.Auto(minutes=60))
    assert chosen(result) == "Frozen()"
    assert "54 training rows are too few, 200 are needed" in result.notes[0]
    assert result.candidates[1].reason.startswith("not tried: 54 training rows")


def test_a_head_that_could_not_learn_from_fewer_rows_is_solved() -> None:
    rows: list[dict[str, Any]] = [{**row, "rare": None} for row in notes(240)]
    rows[0]["rare"], rows[1]["rare"] = 1.0, 2.0
    model = headed()
    model.add_head("rare", mh.Regression())
    result = mh.train(model, rows, "text", mh.Auto(minutes=60), eval_fraction=0)
    assert "too few labels of 'rare'" in result.notes[0]
    assert chosen(result) == "Frozen()"
    assert model.heads["rare"].trained
