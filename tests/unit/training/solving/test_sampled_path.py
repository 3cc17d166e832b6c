"""Paths of penalties that start in the middle: after a quarter of many rows, and after another set of taps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import manyheads as mh
from manyheads.training.searching.comparison import largest_near_best, simplest_near_best
from manyheads.training.solving import linear_fit
from tests.laws.oracle import different_texts

Saved = Callable[[str], Path]
ROWS = 600


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    """Return texts whose label depends on the number of words and on the first one, with a tenth drawn at random."""
    draw = np.random.default_rng(0)
    texts = different_texts(ROWS)
    labels = [str((len(text.split()) // 3 + len(text.split()[0]) // 3) % 3) for text in texts]
    noisy = draw.random(ROWS) < 0.1
    return [
        {"text": text, "label": str(draw.integers(3)) if wrong else label}
        for text, label, wrong in zip(texts, labels, noisy, strict=True)
    ]


def trained(saved: Saved, rows: list[dict[str, object]], l2: float | None = None) -> mh.TrainResult:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("label", mh.Multiclass(["0", "1", "2"], reads=mh.Hidden(pool="mean")))
    method = mh.Frozen(cache=None, dtype="float32", l2=l2)
    return mh.train(model, rows, text="text", method=method, eval_fraction=0)


def test_it_ends_where_the_whole_path_ends(
    saved: Saved, rows: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(saved, rows)
    monkeypatch.setattr(linear_fit, "_MANY_ITEMS", 400)
    sampled = trained(saved, rows)
    on_sample = [step for step in sampled.search["label"] if "rows" in step.settings]
    on_all = [step for step in sampled.search["label"] if "rows" not in step.settings]
    assert {step.settings["rows"] for step in on_sample} == {ROWS * 0.8 / 4}
    assert 3 <= len(on_all) < len(whole.search["label"])
    assert sampled.chosen["label"].keys() == whole.chosen["label"].keys()
    assert sampled.chosen["label"]["l2"] == pytest.approx(whole.chosen["label"]["l2"], rel=0.05)
    by_penalty = {step.settings["l2"]: step.loss for step in whole.search["label"]}
    for step in on_all:
        assert step.loss == pytest.approx(by_penalty[step.settings["l2"]], rel=1e-3)
    np.testing.assert_allclose(sampled.out_of_fold["label"].logits, whole.out_of_fold["label"].logits, atol=0.05)


def test_a_given_penalty_needs_no_sample(
    saved: Saved, rows: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_fit, "_MANY_ITEMS", 400)
    assert [step.settings for step in trained(saved, rows, l2=0.1).search["label"]] == [{"l2": 0.1}]


def test_every_set_has_its_best_penalty_between_others(saved: Saved, rows: list[dict[str, object]]) -> None:
    """Sets after the first one start near its best penalty, and go on from there in both directions."""
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("label", mh.Multiclass(["0", "1", "2"]))
    result = mh.train(model, rows, text="text", method=mh.Frozen(cache=None, dtype="float32"), eval_fraction=0)
    tried: dict[object, dict[float, float]] = {}
    for step in result.search["label"]:
        if step.by == "held out":
            tried.setdefault(step.reads, {})[step.settings["l2"]] = step.loss
    assert len(tried) > 1
    for losses in tried.values():
        place = linear_fit.L2_PATH.index(min(losses, key=lambda l2: losses[l2]))
        assert set(linear_fit.L2_PATH[max(place - 1, 0) : place + 2]) <= set(losses)
    first, *later = map(len, tried.values())
    assert min(later) < first


def test_on_a_sample_the_largest_set_near_the_best_is_chosen() -> None:
    draw = np.random.default_rng(0)
    best = draw.normal(1.0, 0.3, size=400)
    errors = [best + 0.5, best + draw.normal(0.001, 0.2, size=400), best, best + 0.0005, best + 0.1]
    assert (simplest_near_best(errors), largest_near_best(errors)) == (1, 3)
    assert largest_near_best(errors[:1]) == simplest_near_best(errors[:1]) == 0
