"""Answers of a fork are the mean of tuned heads and of heads that ``Frozen`` trains, judged on rows of neither."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

import manyheads as mh
from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.temperature import best_temperature, fit_temperature_beside
from manyheads.taps import Branched
from manyheads.training.dataset import TrainingData
from manyheads.training.tuning.frozen_heads import Evaluate, FrozenHeads
from tests.families import BY_NAME, tokenizer_for
from tests.laws.oracle import RECORDS

# Without rows held out of them, the tuned heads are those of `frozen_share=0`.
FORK: dict[str, Any] = {"top": 1, "epochs": 1, "lr": 1e-3, "cache": None, "dtype": "float32", "tuned_share": 1}
LABELS = ["routine", "urgent", "emergency"]
SPECS: dict[str, mh.HeadSpec] = {
    "urgency": mh.Multiclass(LABELS),
    "age": mh.Regression(reads=mh.Hidden(pool="mean")),
    "found": mh.Tokens(["symptom"], words="spaces", reads=mh.Hidden()),
    "flags": mh.MultiLabel(["pain", "fever"], reads=[mh.Hidden(pool="mean"), mh.Lexical()]),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")


def rows(count: int = 120, wrong: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for row in range(count):
        text = f"{RECORDS[row % len(RECORDS)]['text']} {row}"
        tags = ["B-symptom" if word in ("pain", "cough", "fever") else "O" for word in text.split(" ")]
        flags = [flag for flag in ("pain", "fever") if flag in text]
        label = LABELS[(len(text) + wrong * row) % 3]
        found.append({"text": text, "urgency": label, "age": row % 90, "found": tags, "flags": flags})
    return found


def trained(
    method: mh.Method, specs: Mapping[str, mh.HeadSpec] = SPECS, data: list[dict[str, Any]] | None = None, **extra: Any
) -> tuple[mh.HeadedModel, mh.TrainResult]:
    torch.manual_seed(0)
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    for name, spec in specs.items():
        model.add_head(name, spec)
    extra = {"eval_fraction": 0.0, **extra}
    return model, mh.train(model, rows() if data is None else data, "text", method=method, **extra)


def predicted(model: mh.HeadedModel, name: str) -> np.ndarray:
    logits = model.predict([row["text"] for row in rows(30)]).logits[name]
    return np.asarray(getattr(logits, "values", logits), dtype=np.float64)


def reads_a_fork(model: mh.HeadedModel, name: str) -> bool:
    return any(isinstance(tap, Branched) for tap in model.heads[name].taps)


def same_decisions(one: mh.HeadedModel, other: mh.HeadedModel) -> None:
    """Compare decisions of heads with few items, all of which have logits out of fold in any training; of many items,
    such as words, only a fifth have them unless the head answers beside a tuned one."""
    for name in ("urgency", "flags"):
        assert one.heads[name].decision == other.heads[name].decision


# --- the answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_the_logits_are_the_mean_of_both_heads(share: float, tmp_path: Path) -> None:
    tuned, _ = trained(mh.Fork(**FORK, held_out=0, frozen_share=0))
    frozen, _ = trained(mh.Frozen(cache=None, dtype="float32"))
    joined, result = trained(mh.Fork(**FORK, held_out=0, frozen_share=share))
    for name in SPECS:
        expected = (1 - share) * predicted(tuned, name) + share * predicted(frozen, name)
        np.testing.assert_allclose(predicted(joined, name), expected, atol=2e-3 * np.abs(expected).max())
        assert result.chosen[name]["frozen_share"] == share
    joined.save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    for name in SPECS:
        np.testing.assert_array_equal(predicted(again, name), predicted(joined, name))


def test_terms_that_both_heads_read_are_read_once() -> None:
    model, _ = trained(mh.Fork(**FORK, frozen_share=0.5), {"flags": SPECS["flags"]})
    taps = model.heads["flags"].taps
    assert [type(tap).__name__ for tap in taps] == ["Branched", "Lexical", "Hidden"]
    assert model.heads["flags"].output.in_features == model.heads["flags"].width


def test_without_held_out_rows_both_have_the_same_share() -> None:
    _, result = trained(mh.Fork(**FORK, held_out=0))
    assert {name: found["frozen_share"] for name, found in result.chosen.items()} == dict.fromkeys(SPECS, 0.5)
    found = ", ".join(f"0.5 for {name!r}" for name in SPECS)
    note = f"The share in the answers of the heads that Frozen trains on all 120 training rows is {found}."
    assert note in result.notes


def test_heads_that_tuning_harms_stay_as_frozen_trains_them() -> None:
    """A rate at which tuning destroys the fork; all weights before it are those of all rows, not of nine tenths."""
    harmful = {**FORK, "lr": 3.0, "epochs": 3}
    model, result = trained(mh.Fork(**harmful, held_out=0.4))
    frozen, expected = trained(mh.Frozen(cache=None, dtype="float32"))
    for name in ("urgency", "found", "flags"):
        assert result.chosen[name]["frozen_share"] == 1
        assert not reads_a_fork(model, name)
        np.testing.assert_array_equal(predicted(model, name), predicted(frozen, name))
    same_decisions(model, frozen)
    assert result.temperature["urgency"] == expected.temperature["urgency"]
    assert any("1 for 'urgency'" in note and "48 held-out training rows" in note for note in result.notes)


def test_a_tuned_share_of_0_leaves_what_frozen_trains() -> None:
    model, result = trained(mh.Fork(**{**FORK, "tuned_share": 0}))
    frozen, _ = trained(mh.Frozen(cache=None, dtype="float32"))
    for name in SPECS:
        assert result.chosen[name]["frozen_share"] == 1
        np.testing.assert_array_equal(predicted(model, name), predicted(frozen, name))
    same_decisions(model, frozen)
    assert not list(model.core.backbone.branches)


def test_heads_without_a_mean_answer_alone() -> None:
    specs: dict[str, mh.HeadSpec] = {
        "urgency": mh.Multiclass(LABELS, reads=mh.Hidden()),
        "age": mh.Regression(reads=[mh.Hidden(), mh.Output("urgency")]),
        "deep": mh.Multiclass(LABELS, column="urgency", reads=mh.Hidden(), hidden=[8]),
        "attention": mh.Multiclass(LABELS, column="urgency", reads=mh.Hidden(pool="attention")),
        "plain": mh.Multiclass(LABELS, column="urgency", reads=mh.Hidden()),
    }
    model, result = trained(mh.Fork(**FORK, held_out=0), specs)
    assert [name for name, found in result.chosen.items() if "frozen_share" in found] == ["plain"]
    assert {name: len(head.taps) for name, head in model.heads.items()} == {
        "urgency": 1, "age": 2, "deep": 1, "attention": 1, "plain": 2
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"frozen_share": 1}, "frozen_share must be below 1, and above 0 only with start='frozen', got 1"),
        ({"frozen_share": 0.5, "start": "random"}, "got 0.5 with start='random'"),
        ({"frozen_share": -0.1}, "frozen_share must be a finite number of at least 0, got -0.1"),
        ({"frozen_share": "half"}, "frozen_share must be a finite number of at least 0, got 'half'"),
    ],
)
def test_a_share_out_of_range_is_rejected(settings: dict[str, Any], reported: str) -> None:
    with pytest.raises(mh.errors.MethodError, match=f"Fork: .*{reported}"):
        mh.Fork(**settings)


def test_a_random_start_has_no_frozen_heads() -> None:
    model, result = trained(mh.Fork(**FORK, start="random"), {"urgency": SPECS["urgency"]})
    assert "frozen_share" not in result.chosen["urgency"]
    assert len(model.heads["urgency"].taps) == 1


def test_an_export_to_one_input_says_how_to_train(tmp_path: Path) -> None:
    model, _ = trained(mh.Fork(**FORK, frozen_share=0.5), {"urgency": mh.Multiclass(LABELS, reads=mh.Hidden())})
    with pytest.raises(mh.errors.ExportError, match=r"train it with Fork\(frozen_share=0\)"):
        model.export_head("urgency", tmp_path / "head")


# --- L27: rows that neither was fitted to ------------------------------------------------------------


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[FrozenHeads, TrainingData]]:
    """Return the frozen heads of each run and its data, as their shares are chosen."""
    found: list[tuple[FrozenHeads, TrainingData]] = []
    choose = FrozenHeads.shares_of

    def watched(frozen: FrozenHeads, evaluate: Evaluate, data: TrainingData) -> dict[str, float]:
        found.append((frozen, data))
        return choose(frozen, evaluate, data)

    monkeypatch.setattr(FrozenHeads, "shares_of", watched)
    return found


def test_l27_logits_of_training_rows_are_out_of_fold(made: list[tuple[FrozenHeads, TrainingData]]) -> None:
    """Labels that depend on nothing: a head knows many of those it was fitted to, and guesses the others."""
    draw = np.random.default_rng(0)
    data = [{**row, "urgency": LABELS[draw.integers(3)]} for row in rows(400)]
    trained(mh.Fork(**FORK), {"urgency": mh.Multiclass(LABELS, reads=[mh.Hidden(), mh.Lexical()])}, data)
    (frozen, used) = made[0]
    truth = np.array([LABELS.index(str(row["urgency"])) for row in data])
    every_row = np.concatenate([used.train, used.held_out])
    assert len(every_row) == len(data)
    logits = frozen.logits_of(every_row)["urgency"].values
    assert not np.isnan(logits).any()
    assert (logits.argmax(axis=1) == truth[every_row]).mean() < 0.42


def test_l27_evaluation_labels_change_nothing(tmp_path: Path) -> None:
    for name, wrong in (("right", False), ("wrong", True)):
        model, _ = trained(mh.Fork(**FORK), eval_data=rows(40, wrong))
        model.save_pretrained(tmp_path / name)
    right, other = (tmp_path / name / "heads.safetensors" for name in ("right", "wrong"))
    assert right.read_bytes() == other.read_bytes()


def test_the_result_is_measured_on_what_predicts() -> None:
    evaluation = rows(40)
    model, result = trained(mh.Fork(**FORK), eval_data=evaluation)
    found = model.predict([row["text"] for row in evaluation])
    right = [row["urgency"] == own["urgency"].label for row, own in zip(evaluation, found, strict=True)]
    assert result.metrics["urgency"]["accuracy"] == pytest.approx(np.mean(right))
    error = np.abs(np.asarray(found.values["age"]) - [row["age"] for row in evaluation]).mean()
    assert result.metrics["age"]["mean_absolute_error"] == pytest.approx(error, rel=1e-4)


# --- temperatures ------------------------------------------------------------------------------------


def drawn(temperature: float, count: int, seed: int) -> HeldOut:
    """Return logits and labels that are drawn from their scores with this temperature."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 2, (count, 3)).astype(np.float32)
    scores = softmax(logits.astype(np.float64) / temperature, axis=1)
    targets = (draw.random((count, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=2)
    return HeldOut(logits, targets, [f"text {row}" for row in range(count)])


def test_a_temperature_beside_a_known_one_takes_over_its_luck() -> None:
    """Twice the logits of a head need twice its temperature, however easy the few rows are."""
    spec = SPECS["urgency"]
    for seed in range(5):
        alone = drawn(1.3, 30, seed)
        answers = replace(alone, logits=2 * alone.logits)
        fit = fit_temperature_beside(spec, answers, alone, 1.3)
        assert fit is not None
        # The prior of each temperature counts like one more item, and pulls the larger one further.
        assert fit.temperature == pytest.approx(2.6, rel=0.08)


def test_with_few_texts_there_is_no_temperature() -> None:
    few = drawn(2, 19, 0)
    fit = fit_temperature_beside(SPECS["urgency"], few, few, 1.3)
    assert fit is not None
    assert fit.temperature == 1


def test_temperatures_of_answers_vary_less_than_those_of_held_out_rows_alone() -> None:
    """The error against the temperature of 4,000 rows, over draws of 200 of them."""
    spec, draw = SPECS["urgency"], np.random.default_rng(1)
    frozen = drawn(1.0, 4000, 0)
    tuned = replace(frozen, logits=(1.5 * frozen.logits + draw.normal(0, 1, frozen.logits.shape)).astype(np.float32))
    answers = replace(frozen, logits=((tuned.logits + frozen.logits) / 2).astype(np.float32))
    known, right = best_temperature(spec, frozen), best_temperature(spec, answers)
    errors: list[tuple[float, float]] = []
    for _ in range(20):
        some = draw.choice(4000, 200, replace=False)
        beside = fit_temperature_beside(spec, answers.take(some), frozen.take(some), known)
        assert beside is not None
        alone_fitted = best_temperature(spec, answers.take(some))
        errors.append((np.log(beside.temperature / right), np.log(alone_fitted / right)))
    of_beside, alone = np.std(errors, axis=0)
    assert of_beside < 0.6 * alone
