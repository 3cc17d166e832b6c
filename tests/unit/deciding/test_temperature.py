"""Temperatures: scikit-learn's, kept only where they help, and part of every training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

import manyheads as mh
from manyheads.deciding.after_training import decide
from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.temperature import best_temperature, fit_temperature, log_losses
from manyheads.training.trained_head import LEAST_GAIN
from tests.families import WORDS

Saved = Callable[[str], Path]
ROWS = 3000
LABELS = ["a", "b", "c"]
SPECS: dict[str, mh.HeadSpec] = {
    "multiclass": mh.Multiclass(LABELS, label_smoothing=0.2, class_weights=[1.0, 2.0, 9.0]),
    "ordinal": mh.Ordinal(LABELS, label_smoothing=0.2),
    "multilabel": mh.MultiLabel(LABELS, label_smoothing=0.2),
    "words": mh.Tokens(LABELS, scheme="plain"),
}


def drawn(spec: mh.HeadSpec, temperature: float, rows: int = ROWS, seed: int = 0) -> HeldOut:
    """Return logits and labels that are drawn from their scores with this temperature, one text per item."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(0, 3, (rows, spec.outputs)).astype(np.float32)
    scores = spec.scores(logits.astype(np.float64), mh.Decision(temperature=temperature))
    if isinstance(spec, mh.MultiLabel):
        targets = (draw.random(scores.shape) < scores).astype(np.float32)
    else:
        targets = (draw.random((rows, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=scores.shape[1] - 1)
    return HeldOut(logits, targets, [f"text {row}" for row in range(rows)])


# --- the fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_is_scikit_learns(temperature: float) -> None:
    from sklearn.calibration import _TemperatureScaling

    held_out = drawn(SPECS["multiclass"], temperature)
    expected = 1 / _TemperatureScaling().fit(held_out.logits.astype(np.float64), held_out.targets).beta_
    # The prior counts like one of 3,000 rows, and the search ends at a thousandth.
    assert best_temperature(SPECS["multiclass"], held_out) == pytest.approx(expected, rel=3e-3)


def test_weights_count_as_repeated_rows() -> None:
    spec, held_out = SPECS["multiclass"], drawn(SPECS["multiclass"], 2, 400)
    counts = np.random.default_rng(1).integers(1, 4, 400)
    repeated = held_out.take(np.repeat(np.arange(400), counts))
    weighted = HeldOut(held_out.logits, held_out.targets, held_out.texts, counts.astype(np.float64))
    assert best_temperature(spec, weighted) == pytest.approx(best_temperature(spec, repeated), rel=5e-3)
    losses, of_repeated = (log_losses(spec, one, 2) for one in (weighted, repeated))
    assert weighted.mean(losses) == pytest.approx(repeated.mean(of_repeated))
    assert weighted.error(losses) == pytest.approx(repeated.error(of_repeated))  # equal texts are one observation


@pytest.mark.parametrize("kind", SPECS)
def test_log_losses_are_those_of_the_scores(kind: str) -> None:
    spec, held_out = SPECS[kind], drawn(SPECS[kind], 1.7, 50)
    scores = spec.scores(held_out.logits.astype(np.float64), mh.Decision(temperature=1.7))
    found = log_losses(spec, held_out, 1.7)
    if kind == "multilabel":
        expected = -np.log(np.where(held_out.targets == 1, scores, 1 - scores)).sum(axis=1)
    else:
        expected = -np.log(scores[np.arange(50), held_out.targets])
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_log_losses_of_shares_are_the_expected_ones() -> None:
    spec, held_out = SPECS["ordinal"], drawn(SPECS["ordinal"], 1, 50)
    shares = np.random.default_rng(1).dirichlet(np.ones(3), 50).astype(np.float32)
    scores = spec.scores(held_out.logits.astype(np.float64), mh.Decision())
    found = log_losses(spec, HeldOut(held_out.logits, shares, held_out.texts), 1)
    np.testing.assert_allclose(found, -(shares * np.log(scores)).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("temperature", [0.4, 2.5])
def test_the_temperature_that_made_the_labels_is_found_and_kept(kind: str, temperature: float) -> None:
    fit = fit_temperature(SPECS[kind], drawn(SPECS[kind], temperature))
    assert fit is not None
    assert fit.temperature == fit.fitted == pytest.approx(temperature, rel=0.07)
    assert fit.gain > 5 * fit.error
    assert fit.items == ROWS


@pytest.mark.parametrize("kind", SPECS)
def test_of_calibrated_heads_most_keep_one_and_none_is_far(kind: str) -> None:
    fits = [fit_temperature(SPECS[kind], drawn(SPECS[kind], 1, 300, seed)) for seed in range(10)]
    found = [fit.temperature for fit in fits if fit is not None]
    assert found.count(1.0) >= 7
    assert all(0.8 < temperature < 1.25 for temperature in found)


def test_few_rows_that_are_all_right_do_not_make_a_head_certain() -> None:
    logits = np.repeat([[2.0, 0.0, 0.0]], 20, axis=0).astype(np.float32)
    held_out = HeldOut(logits, np.zeros(20, np.int64), [f"text {row}" for row in range(20)])
    fit = fit_temperature(SPECS["multiclass"], held_out)
    assert fit is not None
    assert 0.3 < fit.temperature < 1


@pytest.mark.parametrize("texts", [0, 19, 20])
def test_with_fewer_than_twenty_texts_the_temperature_is_one(texts: int) -> None:
    held_out = drawn(SPECS["multiclass"], 5, 200)
    few = HeldOut(held_out.logits, held_out.targets, [f"text {row % max(texts, 1)}" for row in range(200)])
    fit = fit_temperature(SPECS["multiclass"], few if texts else few.take(np.arange(0)))
    assert fit is not None
    assert (fit.temperature > 3) == (texts == 20)


def test_the_gain_is_that_of_temperatures_fitted_to_other_rows() -> None:
    """Everything written out for one head."""
    spec, held_out = SPECS["multiclass"], drawn(SPECS["multiclass"], 1.3, 200)
    fit = fit_temperature(spec, held_out, seed=3)
    logits, truth = held_out.logits.astype(np.float64), held_out.targets

    def losses(rows: np.ndarray, temperature: float) -> np.ndarray:
        return -np.log(softmax(logits[rows] / temperature, axis=1)[np.arange(len(rows)), truth[rows]])

    gains, folds = np.empty(200), held_out.folds(5, 3)
    for fold in range(5):
        own, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        best = minimize_scalar(
            lambda e, rows=others: losses(rows, np.exp(e)).mean() + e**2 / 2 / len(rows),
            bounds=(-3, 3),
            method="bounded",
        )
        gains[own] = losses(own, 1) - losses(own, np.exp(best.x))
    assert fit is not None
    assert fit.gain == pytest.approx(gains.mean(), abs=1e-5)
    assert fit.error == pytest.approx(gains.std() / np.sqrt(200), rel=1e-2)


@pytest.mark.parametrize("spec", [mh.Regression(), mh.Count()])
def test_numbers_have_no_temperature(spec: mh.HeadSpec) -> None:
    held_out = HeldOut(np.zeros((30, 1), np.float32), np.zeros(30, np.float32), [""] * 30)
    assert decide(spec, held_out, mh.Decision()) == (mh.Decision(), None)


def test_costs_stay_and_what_belonged_to_other_scores_does_not() -> None:
    costs = [[0, 1, 1], [1, 0, 1], [5, 5, 0]]
    before = mh.Decision(temperature=9, abstain_below=0.5, set_threshold=0.9, set_coverage=0.9, costs=costs)
    decision, fit = decide(SPECS["multiclass"], drawn(SPECS["multiclass"], 2, 500), before)
    assert fit is not None
    assert decision == mh.Decision(temperature=fit.temperature, costs=costs)


# --- in training -----------------------------------------------------------------------------------

METHODS = {
    "frozen": mh.Frozen(),
    "fork": mh.Fork(top=1, epochs=2, lr=3e-3, frozen_share=0, cache=None),
    "all tuned": mh.Full(epochs=2, lr=3e-3, tuned_share=1),
    "random start": mh.Full(epochs=1, lr=1e-3, start="random"),
}


def table(rows: int, seed: int = 2) -> list[dict[str, object]]:
    """Return rows whose labels depend on words, but not reliably."""
    draw = np.random.default_rng(seed)
    found: list[dict[str, object]] = []
    for _ in range(rows):
        words = draw.choice(WORDS[:40], size=6, replace=False)
        kind = sum(word in words for word in WORDS[:10]) if draw.random() < 0.6 else draw.integers(0, 3)
        labels = [label for label, word in zip("ab", WORDS, strict=False) if word in words and draw.random() < 0.7]
        number = float(draw.normal())
        found.append({"text": " ".join(words), "kind": LABELS[min(kind, 2)], "tags": labels, "number": number})
    return found


def trained(saved: Saved, method: Any, **settings: Any) -> tuple[mh.HeadedModel, mh.TrainResult]:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("kind", mh.Multiclass(LABELS, reads=mh.Hidden(pool="mean")))
    model.add_head("tags", mh.MultiLabel(["a", "b"], reads=mh.Hidden(pool="mean")))
    model.add_head("number", mh.Regression(reads=mh.Hidden(pool="mean")))
    return model, mh.train(model, table(240), text="text", method=method, **settings)


@pytest.mark.parametrize("method", METHODS)
def test_a_training_shows_the_log_loss_of_calibrated_scores(saved: Saved, tmp_path: Path, method: str) -> None:
    evaluation = table(120, seed=3)
    model, result = trained(saved, METHODS[method], eval_data=evaluation)
    assert set(result.temperature) == {"kind", "tags"}
    for name, fit in result.temperature.items():
        assert model.heads[name].decision.temperature == fit.temperature
        assert fit.items == (240 if method == "frozen" else 24)
        assert (fit.gain > 0) == (fit.temperature != 1)
        noted = any(f"{name!r}: its scores are calibrated" in note for note in result.notes)
        assert noted == (fit.temperature != 1 and fit.gain >= LEAST_GAIN)
    predictions = model.predict([str(row["text"]) for row in evaluation])
    temperature = model.heads["kind"].decision.temperature
    scores = softmax(predictions.logits["kind"].astype(np.float64) / temperature, axis=1)
    np.testing.assert_allclose(predictions.scores["kind"], scores, rtol=1e-4)
    truth = [LABELS.index(str(row["kind"])) for row in evaluation]
    assert result.metrics["kind"]["log_loss"] == pytest.approx(log_loss(truth, scores, labels=range(3)), rel=1e-4)
    expected = expit(predictions.logits["tags"] / model.heads["tags"].decision.temperature)
    np.testing.assert_allclose(predictions.scores["tags"], expected, rtol=1e-4, atol=1e-6)
    model.save_pretrained(tmp_path / "model")
    record = json.loads((tmp_path / "model" / "heads.json").read_text())["heads"]["kind"]
    assert record["decision"]["temperature"] == temperature
    assert record["summary"]["temperature"] == result.temperature["kind"].record()


def test_overconfident_tuning_is_calibrated(saved: Saved) -> None:
    evaluation = table(400, seed=3)
    method = mh.Fork(top=1, epochs=10, lr=1e-2, tuned_share=1, frozen_share=0, held_out=0.4, cache=None)
    model, result = trained(saved, method, heads=["kind"], eval_data=evaluation)
    fit = result.temperature["kind"]
    assert fit.items == 96
    assert fit.temperature > 1.5
    logits = model.predict([str(row["text"]) for row in evaluation], heads=["kind"]).logits["kind"]
    raw = log_loss([row["kind"] for row in evaluation], softmax(logits.astype(np.float64), axis=1), labels=LABELS)
    assert result.metrics["kind"]["log_loss"] < raw - 0.1


def test_without_held_out_rows_a_tuned_head_is_not_calibrated(saved: Saved) -> None:
    method = mh.Full(epochs=1, lr=1e-3, tuned_share=1, held_out=0)
    model, result = trained(saved, method, eval_fraction=0)
    assert model.heads["kind"].decision.temperature == model.heads["tags"].decision.temperature == 1
    assert result.temperature == {}
    assert "Scores of 'kind', 'tags' are not calibrated: held_out is 0." in result.notes


@pytest.mark.parametrize("method", ["frozen", "fork"])
def test_no_evaluation_label_is_used(saved: Saved, tmp_path: Path, method: str) -> None:
    evaluation = table(60, seed=3)
    wrong = [{**row, "kind": "c", "tags": ["a", "b"], "number": 1e6} for row in evaluation]
    for name, rows in (("right", evaluation), ("wrong", wrong)):
        trained(saved, METHODS[method], eval_data=rows)[0].save_pretrained(tmp_path / name)
    right, other = (tmp_path / name / "heads.safetensors" for name in ("right", "wrong"))
    assert right.read_bytes() == other.read_bytes()
    records = [json.loads((tmp_path / name / "heads.json").read_text())["heads"] for name in ("right", "wrong")]
    for head in records[0]:
        assert records[0][head]["decision"] == records[1][head]["decision"]
        assert records[0][head]["summary"]["temperature"] == records[1][head]["summary"]["temperature"]
