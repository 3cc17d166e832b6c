"""L28: promises hold on fresh rows, here of a simulated head whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest

import manyheads as mh
from manyheads.deciding.promises.goals import Goals
from manyheads.deciding.promises.one_label import LabelledLogits, fit_one_label
from manyheads.heads import OneLabelSpec
from manyheads.heads.kinds.softmax import softmax

LABELS = ("a", "b", "c", "d", "e", "f")
FRESH = 5_000
CALIBRATED, OVERCONFIDENT = mh.Decision(), mh.Decision(temperature=0.4)
SPECS: dict[str, OneLabelSpec] = {"multiclass": mh.Multiclass(labels=LABELS), "ordinal": mh.Ordinal(labels=LABELS)}


def rows(spec: OneLabelSpec, count: int, seed: int) -> LabelledLogits:
    """Return random logits, and labels drawn from their probabilities."""
    draw = np.random.default_rng(seed)
    logits = (4 * draw.normal(size=(count, spec.outputs))).astype(np.float32)
    chances = spec.raw_scores(logits.astype(np.float64)).cumsum(axis=1)
    positions = (draw.random((count, 1)) > chances[:, :-1]).sum(axis=1)
    return LabelledLogits("head", "rows", spec, positions, logits)


@pytest.mark.parametrize("decision", [CALIBRATED, OVERCONFIDENT], ids=["calibrated", "overconfident"])
@pytest.mark.parametrize("by", ["lac", "aps"])
@pytest.mark.parametrize("kind", SPECS)
def test_sets_cover_as_often_as_asked(kind: str, by: str, decision: mh.Decision) -> None:
    spec, covered = SPECS[kind], []
    fresh = rows(spec, FRESH, 10_000)
    for seed in range(20):
        fit = fit_one_label(rows(spec, 300, seed), decision, Goals(set_coverage=0.9, set_by=by))
        sets = fresh.answers(fit.decision).sets
        assert sets is not None
        covered.append(sets[np.arange(FRESH), fresh.positions].mean())
    assert 0.89 < np.mean(covered) < 0.91


@pytest.mark.parametrize("decision", [CALIBRATED, OVERCONFIDENT], ids=["calibrated", "overconfident"])
@pytest.mark.parametrize("kind", SPECS)
def test_errors_hold_on_average(kind: str, decision: mh.Decision) -> None:
    spec = SPECS[kind]
    fresh = rows(spec, FRESH, 10_000)
    found = [error(fit_one_label(rows(spec, 1000, seed), decision, Goals(max_error=0.05)), fresh) for seed in range(20)]
    # The standard error of the mean is about .003.
    assert np.mean(found) < 0.055
    assert np.mean(found) > 0.03


def test_errors_hold_in_the_share_of_draws_that_was_asked() -> None:
    spec = SPECS["multiclass"]
    fresh = rows(spec, 4 * FRESH, 10_000)
    goals = Goals(max_error=0.05, confidence=0.9)
    found = [error(fit_one_label(rows(spec, 2000, seed), CALIBRATED, goals), fresh) for seed in range(100)]
    # Under an average promise half of the draws would be above.
    assert np.mean(np.array(found) <= 0.05) >= 0.9
    assert np.mean(found) > 0.02


def test_as_many_texts_are_answered_as_asked() -> None:
    spec = SPECS["multiclass"]
    fresh, found = rows(spec, FRESH, 10_000), []
    for seed in range(20):
        abstained = fresh.answers(fit_one_label(rows(spec, 300, seed), CALIBRATED, Goals(answered=0.95)).decision)
        assert abstained.abstained is not None
        found.append(1 - abstained.abstained.mean())
    assert 0.945 < np.mean(found) < 0.96


def test_costs_lower_the_cost() -> None:
    spec = SPECS["multiclass"]
    fresh = rows(spec, FRESH, 10_000)
    fit = fit_one_label(rows(spec, 300, 0), CALIBRATED, Goals(costs={"f": dict.fromkeys("abcde", 30)}))
    costs = np.array(fit.decision.costs)
    least, favored = (
        costs[fresh.positions, places].mean() for places in (positions(fit, fresh), fresh.logits.argmax(1))
    )
    expected = (softmax(fresh.logits.astype(np.float64)) @ costs).min(axis=1).mean()
    assert least < favored / 1.5
    assert least == pytest.approx(expected, rel=0.1)


def positions(fit: mh.DecisionFit, fresh: LabelledLogits) -> np.ndarray:
    return fresh.answers(fit.decision).positions


def error(fit: mh.DecisionFit, fresh: LabelledLogits) -> float:
    """Return the share of wrong answers to fresh rows."""
    found = fresh.answers(fit.decision)
    assert found.abstained is not None
    return float((found.positions != fresh.positions)[~found.abstained].mean())
