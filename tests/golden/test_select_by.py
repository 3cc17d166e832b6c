"""``Frozen(select_by=...)``: what is chosen has the best metric on held-out rows, by scikit-learn's metrics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

import manyheads as mh
from tests.families import WORDS

Saved = Callable[[str], Path]
LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    """Return texts in which two of some words decide the label, with a fifth of the labels wrong."""
    draw = np.random.default_rng(0)
    found: list[dict[str, object]] = []
    for _ in range(150):
        label = int(draw.choice(3, p=[0.6, 0.3, 0.1]))
        words = [*draw.choice(WORDS[12:60], size=6), *draw.choice(WORDS[4 * label : 4 * label + 4], size=2)]
        given = LABELS[label if draw.random() < 0.8 else int(draw.integers(3))]
        found.append({"text": " ".join(words), "label": given, "rank": given})
    return found


def trained(saved: Saved, rows: object, select_by: str, specs: dict[str, mh.Multiclass | mh.Ordinal]) -> mh.TrainResult:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    for name, spec in specs.items():
        model.add_head(name, spec)
    method = mh.Frozen(select_by=select_by, cache=None, dtype="float32")
    return mh.train(model, rows, text="text", method=method, eval_fraction=0)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_the_chosen_settings_have_the_best_metric(saved: Saved, rows: list[dict[str, object]], metric: str) -> None:
    spec = mh.Multiclass(labels=LABELS, reads=mh.Hidden(pool="mean"))
    result = trained(saved, rows, metric, {"label": spec})
    found = result.out_of_fold["label"]
    assert len(found.rows) == len(rows)
    truth = np.array([LABELS.index(str(rows[row]["label"])) for row in found.rows])
    guesses = found.logits.argmax(axis=1)
    value = accuracy_score(truth, guesses) if metric == "accuracy" else f1_score(truth, guesses, average="macro")
    tried = [step.loss for step in result.search["label"]]
    assert {step.by for step in result.search["label"]} == {f"held out, {metric}"}
    assert 1 - value == pytest.approx(min(tried), abs=1e-12)
    assert max(tried) > min(tried) + 0.01


def test_main_selects_each_head_by_its_own_metric(saved: Saved, rows: list[dict[str, object]]) -> None:
    reads = mh.Hidden(pool="mean")
    specs = {"label": mh.Multiclass(labels=LABELS, reads=reads), "rank": mh.Ordinal(labels=LABELS, reads=reads)}
    result = trained(saved, rows, "main", specs)
    assert {name: result.search[name][0].by for name in specs} == {
        "label": "held out, accuracy",
        "rank": "held out, quadratic_kappa",
    }
    found = result.out_of_fold["rank"]
    guesses = specs["rank"].positions(found.logits.astype(np.float64))
    truth = [LABELS.index(str(rows[row]["rank"])) for row in found.rows]
    best = min(step.loss for step in result.search["rank"])
    assert 1 - cohen_kappa_score(truth, guesses, weights="quadratic") == pytest.approx(best, abs=1e-12)


def test_taps_are_compared_by_the_metric_too(saved: Saved, rows: list[dict[str, object]]) -> None:
    result = trained(saved, rows, "accuracy", {"label": mh.Multiclass(labels=LABELS)})
    solved = [step for step in result.search["label"] if step.by == "held out, accuracy"]
    assert len({step.reads for step in solved}) > 1
    assert all(step.error is not None for step in solved)


def test_a_metric_that_a_head_lacks_is_an_error(saved: Saved, rows: list[dict[str, object]]) -> None:
    with pytest.raises(
        mh.errors.MethodError, match=r"Head 'rank': no metric 'macro_f1'.*'accuracy', 'quadratic_kappa'"
    ):
        trained(saved, rows, "macro_f1", {"rank": mh.Ordinal(labels=LABELS)})
    with pytest.raises(mh.errors.MethodError, match="select_by must be one of 'loss', 'main', 'accuracy'"):
        mh.Frozen(select_by="f1")
