"""The report of out-of-fold predictions, and learning curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import manyheads as mh
from manyheads.evaluation.kinds import Measures
from manyheads.evaluation.kinds.repeated import RepeatedMeasures
from manyheads.evaluation.power_law import extrapolated
from tests.laws.oracle import HEADS, RECORDS, headed

KINDS = {name: HEADS[name] for name in ("urgency", "symptoms", "age", "found")}
FROZEN = mh.Frozen(dtype="float32", l2=0.1)


@pytest.fixture
def model(saved: Callable[[str], Path]) -> mh.HeadedModel:
    return headed(saved("bert"), KINDS)


def test_metrics_are_those_of_each_row_by_its_own_training(model: mh.HeadedModel) -> None:
    records = [{**row, "text": f"{row['text']} {copy}"} for copy in range(3) for row in RECORDS]
    report = mh.cross_validate(model, records, "text", FROZEN, heads=["symptoms", "age"], folds=3)
    rows: Any = report.heads["symptoms"].evaluated
    (predictions,) = rows.repeats
    chosen = np.empty(rows.logits.shape, dtype=bool)
    for part, decision in enumerate(predictions.decisions):
        own = predictions.part_of == part
        thresholds = np.array(decision.thresholds or [0.5] * 3)
        chosen[own] = 1 / (1 + np.exp(-rows.logits[own] / decision.temperature)) >= thresholds
    assert len({decision.thresholds for decision in predictions.decisions}) > 1
    labels = np.array([[label in row["symptoms"] for label in rows.spec.labels] for row in records])  # type: ignore[operator]
    expected = sk.f1_score(labels, chosen, average="macro", zero_division=0)
    assert report.metrics["symptoms"]["macro_f1"] == pytest.approx(expected)
    assert {name: head.rows for name, head in report.heads.items()} == {"symptoms": len(records), "age": len(records)}
    assert "3 folds" in report.procedure


def test_metrics_of_repeats_are_means_and_rows_are_of_the_first(model: mh.HeadedModel) -> None:
    names = ["urgency", "symptoms", "found"]
    each = [mh.cross_validate(model, RECORDS, "text", FROZEN, 2, heads=names, seed=seed) for seed in (7, 8)]
    both = mh.cross_validate(model, RECORDS, "text", FROZEN, 2, repeats=2, heads=names, seed=7)
    for name in names:
        for metric, value in both.metrics[name].items():
            assert value == pytest.approx(np.mean([one.metrics[name][metric] for one in each]), nan_ok=True)
        assert both.heads[name].rows == len(RECORDS)
        assert [one.row for one in both.mistakes(name)] == [one.row for one in each[0].mistakes(name)]
    for metric in ("accuracy", "log_loss"):
        low, value, high = (
            both.heads["urgency"].intervals[metric].low,
            both.metrics["urgency"][metric],
            both.heads["urgency"].intervals[metric].high,
        )
        assert low <= value <= high


def test_repeated_measures_forget_nothing_that_measures_have() -> None:
    public = {name for name in vars(Measures) if not name.startswith("_")} - {"metrics"}
    assert public - set(Measures.__annotations__) <= set(vars(RepeatedMeasures))


def test_a_learning_curve_ends_in_the_report(model: mh.HeadedModel) -> None:
    report = mh.cross_validate(model, RECORDS, "text", FROZEN, heads=["urgency", "age"], folds=2, learning_curve=True)
    for name in ("urgency", "age"):
        curve = report.learning_curve[name]
        last = curve.points[-1]
        assert last.score == report.metrics[name][report.heads[name].main_metric]
        assert [point.rows for point in curve.points] == sorted({point.rows for point in curve.points})
        assert last.rows == len(RECORDS) // 2
        assert report.to_dict()["heads"][name]["learning_curve"]["points"][-1]["rows"] == last.rows


def test_a_power_law_is_extrapolated_exactly() -> None:
    rows = np.array([100.0, 200.0, 400.0, 800.0])
    curves = np.array([[0.1, 2.0, 0.5], [0.0, 0.9, 0.25], [0.3, 0.0, 0.5]])  # a, b, c of a + b n^-c
    errors = np.array([a + b * rows**-c for a, b, c in curves])
    expected = [a + b * 1600**-c for a, b, c in curves]
    np.testing.assert_allclose(extrapolated(rows, errors, 1600), expected)


def test_an_error_that_rises_is_expected_to_stay() -> None:
    errors = np.array([[0.2, 0.3, 0.4, 0.5]])
    np.testing.assert_allclose(extrapolated(np.array([100.0, 200.0, 400.0, 800.0]), errors, 1600), 0.35)
