"""The value ``Decision``: its settings, the kinds they fit, what is shown of it, and what a new label does to it."""

from __future__ import annotations

from dataclasses import asdict

import pytest

import manyheads as mh
from manyheads.heads.decision import with_new_labels

COSTS = [[0, 1, 2], [1, 0, 1], [9, 1, 0]]
LABELS = ["a", "b", "c"]


def test_settings_are_floats_and_tuples_and_only_those_given_are_shown() -> None:
    decision = mh.Decision(temperature=2, abstain_below=1, set_threshold=1, set_coverage=0.9, costs=COSTS)
    assert decision.costs == ((0.0, 1.0, 2.0), (1.0, 0.0, 1.0), (9.0, 1.0, 0.0))
    assert all(type(value) in (float, str, tuple, type(None)) for value in asdict(decision).values())
    assert repr(mh.Decision(abstain_below=1)) == "Decision(abstain_below=1.0)"
    assert mh.Decision(**asdict(decision)) == decision


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0}, "temperature must be a finite number above 0, got 0"),
        ({"temperature": float("inf")}, "temperature must be"),
        ({"temperature": 10**400}, "temperature must be"),
        ({"temperature": True}, "temperature must be"),
        ({"temperature": "1"}, "temperature must be"),
        ({"abstain_below": float("nan")}, "abstain_below must be a finite number"),
        ({"abstain_by": "probabilty"}, "abstain_by 'probabilty' is not among .*did you mean 'probability'"),
        ({"set_by": "raps"}, "set_by 'raps' is not among 'lac', 'aps'"),
        ({"set_threshold": 1.1}, "set_threshold must be a number from 0 to 1"),
        ({"set_threshold": 0.5, "set_coverage": 1}, "set_coverage must be a number between 0 and 1"),
        ({"set_coverage": 0.9}, ".*give that too"),
        ({"max_error": 0.1}, "max_error is promised with abstain_below"),
        ({"abstain_below": 0.5, "confidence": 0.9}, "confidence is promised with max_error"),
        ({"costs": []}, "costs must be a square"),
        ({"costs": [[0, 1]]}, "costs must be a square"),
        ({"costs": [[0, float("nan")], [1, 0]]}, "costs must be a square"),
        ({"costs": [0, 1]}, "costs must be a square"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(mh.errors.HeadError, match=f"Decision: {message}"):
        mh.Decision(**settings)


@pytest.mark.parametrize(
    ("spec", "decision", "message"),
    [
        (mh.Regression(), mh.Decision(temperature=2), "Regression: has no temperature; .*leave temperature out"),
        (mh.Count(), mh.Decision(abstain_below=0.5), "Count: has no abstain_below"),
        (mh.MultiLabel(LABELS), mh.Decision(costs=COSTS), "MultiLabel: has no costs; .*'temperature', 'thresholds'"),
        (mh.Tokens(LABELS), mh.Decision(thresholds=[0.5] * 3), "Tokens: has no thresholds"),
        (mh.Multiclass(LABELS), mh.Decision(thresholds=[0.5] * 3), "Multiclass: has no thresholds"),
        (mh.Ordinal(LABELS), mh.Decision(costs=[[0, 1], [1, 0]]), "costs must be 3 x 3 numbers.*got 2 x 2"),
    ],
)
def test_decisions_that_do_not_fit_a_kind(spec: mh.HeadSpec, decision: mh.Decision, message: str) -> None:
    with pytest.raises(mh.errors.HeadError, match=message):
        spec.check_decision(decision)


def test_a_new_label_costs_as_much_as_the_worst_error() -> None:
    costs = with_new_labels(mh.Decision(costs=COSTS), 1).costs
    assert costs is not None
    assert [row[:3] for row in costs[:3]] == [tuple(map(float, row)) for row in COSTS]
    assert [row[3] for row in costs] == [9, 9, 9, 0]
    assert costs[3] == (9, 9, 9, 0)
