"""Every metric of a report is scikit-learn's, seqeval's or a hand computation's, on random and on edge inputs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import metrics as sk

import manyheads as mh
from manyheads.data.unknown_labels import find_unknown
from manyheads.evaluation.calibration import BINS, calibration
from manyheads.evaluation.kinds import Measures, Statements, measures_of
from manyheads.evaluation.resamples import Resamples, interval
from manyheads.evaluation.risk_coverage import risk_coverage
from manyheads.evaluation.scored_rows import scored_rows
from manyheads.heads import NEUTRAL, HeadSpec, Ragged
from manyheads.heads.ragged import offsets_of
from manyheads.types import MISSING

LABELS = ["a", "b", "c", "d"]
EXACT = {"rel": 1e-9, "abs": 1e-9}


def drawn(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def measured(spec: HeadSpec, targets: Any, logits: Any, decision: mh.Decision = NEUTRAL) -> Measures:
    return measures_of(scored_rows(spec, targets, logits, decision))


def positions(name: str, draw: np.random.Generator) -> np.ndarray:
    """Return label positions: all labels, one, some missing, or two of four."""
    rows = draw.integers(0, 4, 80)
    if name == "one label":
        return np.full(80, 2)
    if name == "missing labels":
        rows[::3] = MISSING
    return rows % 2 if name == "labels without rows" else rows


def logits_for(name: str, draw: np.random.Generator, outputs: int) -> np.ndarray:
    """Return fp32 logits; with ties, of three values only."""
    logits = draw.normal(0, 2, (80, outputs))
    return (logits.round() if name == "ties" else logits).astype(np.float32)


CASES = ["random", "one label", "missing labels", "labels without rows", "ties"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("labels", [LABELS, LABELS[:2]])
def test_one_label_per_row(case: str, labels: list[str]) -> None:
    draw = drawn(len(case))
    spec, targets = mh.Multiclass(labels), positions(case, draw)
    targets[targets >= len(labels)] = 0
    logits = logits_for(case, draw, len(labels))
    found = measured(spec, targets, logits).metrics
    kept = targets != MISSING
    true, shown = targets[kept], spec.scores(logits[kept], NEUTRAL)
    scores = shown.astype(np.float64) / shown.sum(axis=1, keepdims=True, dtype=np.float64)
    guess, one_hot = shown.argmax(axis=1), true[:, None] == np.arange(len(labels))
    columns = [(column, p) for column, p in zip(one_hot.T, shown.T, strict=True) if column.any()]
    areas = [sk.roc_auc_score(column, p) for column, p in columns if not column.all()]
    ranked = [sk.average_precision_score(column, p) for column, p in columns]
    with warnings.catch_warnings(action="ignore"):
        expected = {
            "accuracy": sk.accuracy_score(true, guess),
            "balanced_accuracy": sk.balanced_accuracy_score(true, guess),
            "macro_f1": sk.f1_score(true, guess, average="macro", zero_division=0),
            "weighted_f1": sk.f1_score(true, guess, average="weighted", zero_division=0),
            "log_loss": sk.log_loss(true, scores, labels=range(len(labels))),
            "brier": sk.brier_score_loss(one_hot[:, 1], scores[:, 1])
            if len(labels) == 2
            else ((scores - one_hot) ** 2).sum(axis=1).mean(),
            "roc_auc": np.mean(areas) if areas else np.nan,
            "average_precision": np.mean(ranked),
        }
    assert found == pytest.approx(expected, nan_ok=True, rel=1e-6)
    if case in ("random", "missing labels") and len(labels) == 4:
        area = sk.roc_auc_score(true, scores, multi_class="ovr")
        assert found["roc_auc"] == pytest.approx(area)
        assert found["brier"] == pytest.approx(sk.brier_score_loss(true, scores, labels=range(4)))


@pytest.mark.parametrize("case", CASES)
def test_labels_and_confusion(case: str) -> None:
    draw = drawn(7)
    targets, logits = positions(case, draw), logits_for(case, draw, 4)
    found = measured(mh.Multiclass(LABELS), targets, logits)
    kept = targets != MISSING
    true, guess = targets[kept], logits[kept].argmax(axis=1)
    expected = sk.precision_recall_fscore_support(true, guess, labels=range(4), zero_division=0)
    table = [[one.precision, one.recall, one.f1, one.rows] for one in found.by_label()]
    np.testing.assert_allclose(table, np.stack(expected, axis=1))
    confusion = found.confusion()
    assert confusion is not None
    assert np.array_equal(confusion, sk.confusion_matrix(true, guess, labels=range(4)))
    assert [one.predicted for one in found.by_label()] == confusion.sum(axis=0).tolist()


@pytest.mark.parametrize("case", CASES)
def test_ordered_labels(case: str) -> None:
    draw = drawn(3)
    spec, targets, logits = mh.Ordinal(LABELS), positions(case, draw), logits_for(case, draw, 3)
    found = measured(spec, targets, logits).metrics
    kept = targets != MISSING
    true, guess = targets[kept], spec.positions(logits[kept])
    assert found["mean_absolute_error"] == pytest.approx(sk.mean_absolute_error(true, guess))
    assert found["quadratic_kappa"] == pytest.approx(sk.cohen_kappa_score(true, guess, weights="quadratic"), **EXACT)


def test_kappa_of_one_label_alone_is_undefined() -> None:
    found = measured(mh.Ordinal(LABELS), np.zeros(9, dtype=np.int64), np.full((9, 3), -5, dtype=np.float32))
    assert np.isnan(found.metrics["quadratic_kappa"])
    assert found.metrics["accuracy"] == 1


@pytest.mark.parametrize("case", ["random", "no positive", "one label without rows", "missing labels", "ties"])
def test_several_labels_per_row(case: str) -> None:
    draw = drawn(5)
    targets = (draw.random((80, 4)) < 0.3).astype(np.float32)
    if case == "no positive":
        targets[:] = 0
    if case == "one label without rows":
        targets[:, 2] = 0
    if case == "missing labels":
        targets[::4] = np.nan
    decision = mh.Decision(thresholds=[0.2, 0.5, 0.7, 0.4], temperature=1.5)
    spec, logits = mh.MultiLabel(LABELS), logits_for(case, draw, 4)
    found = measured(spec, targets, logits, decision)
    kept = ~np.isnan(targets).any(axis=1)
    true, scores = targets[kept].astype(int), spec.scores(logits[kept], decision).astype(np.float64)
    guess = (scores >= np.float32([0.2, 0.5, 0.7, 0.4])).astype(int)
    columns = list(zip(true.T, scores.T, strict=True))
    areas = [sk.roc_auc_score(column, p) for column, p in columns if column.any()]
    ranked = [sk.average_precision_score(column, p) for column, p in columns if column.any()]
    expected = {
        "micro_f1": sk.f1_score(true, guess, average="micro", zero_division=0),
        "macro_f1": sk.f1_score(true, guess, average="macro", zero_division=0),
        "weighted_f1": sk.f1_score(true, guess, average="weighted", zero_division=0),
        "micro_precision": sk.precision_score(true, guess, average="micro", zero_division=0),
        "micro_recall": sk.recall_score(true, guess, average="micro", zero_division=0),
        "exact_match": sk.accuracy_score(true, guess),
        "log_loss": np.mean([sk.log_loss(column, p, labels=[0, 1]) for column, p in columns]),
        "brier": np.mean([sk.brier_score_loss(column, p) for column, p in columns if column.any()])
        if true.any(axis=0).all()
        else ((scores - true) ** 2).mean(),
        "roc_auc": np.mean(areas) if areas else np.nan,
        "average_precision": np.mean(ranked) if ranked else 0.0,
    }
    assert found.metrics == pytest.approx(expected, nan_ok=True, rel=1e-6)
    by_label = sk.precision_recall_fscore_support(true, guess, zero_division=0)
    table = [[one.precision, one.recall, one.f1, one.rows] for one in found.by_label()]
    np.testing.assert_allclose(table, np.stack(by_label, axis=1))


@pytest.mark.parametrize("case", ["random", "missing labels", "equal numbers", "one row"])
def test_numbers_and_counts(case: str) -> None:
    draw = drawn(11)
    targets = draw.poisson(3, 60).astype(np.float32) + (1000 if case == "missing labels" else 0)
    if case == "missing labels":
        targets[::3] = np.nan
    if case == "equal numbers":
        targets[:] = 7
    if case == "one row":
        targets = targets[:1]
    logits = (np.log(np.nan_to_num(targets, nan=1.0) + 1) + draw.normal(0, 0.1, len(targets))).astype(np.float32)[
        :, None
    ]
    kept = ~np.isnan(targets)
    true = targets[kept].astype(np.float64)
    value, count = (
        spec.scores(logits[kept], NEUTRAL)[:, 0].astype(np.float64) for spec in (mh.Regression(), mh.Count())
    )
    varies = len(np.unique(true)) > 1
    assert measured(mh.Regression(), targets, logits).metrics == pytest.approx(
        {
            "r2": sk.r2_score(true, value) if varies else np.nan,
            "mean_absolute_error": sk.mean_absolute_error(true, value),
            "root_mean_squared_error": sk.root_mean_squared_error(true, value),
            "spearman": spearmanr(true, value).statistic if varies else np.nan,
        },
        nan_ok=True,
        **EXACT,
    )
    found = measured(mh.Count(), targets, logits).metrics
    assert found["mean_poisson_deviance"] == pytest.approx(sk.mean_poisson_deviance(true, count), rel=1e-6)
    expected = sk.d2_tweedie_score(true, count, power=1) if varies else np.nan
    assert found["d2"] == pytest.approx(expected, nan_ok=True, rel=1e-6)


@pytest.mark.parametrize("scheme", ["BIO", "plain"])
def test_words_and_entities(scheme: str) -> None:
    from seqeval import metrics as seqeval

    draw = drawn(2)
    spec = mh.Tokens(["x", "y"], scheme="BIO") if scheme == "BIO" else mh.Tokens(LABELS, scheme="plain")
    lengths = draw.integers(1, 9, 50)
    offsets = offsets_of(lengths)
    logits = Ragged(draw.normal(0, 2, (offsets[-1], spec.outputs)).astype(np.float32), offsets)
    guess = spec.predicted_classes(logits)
    right = draw.random(offsets[-1]) < 0.6
    values = np.where(right, guess.values, draw.integers(0, spec.outputs, offsets[-1]))
    values[offsets[4] : offsets[6]] = MISSING  # two texts without a label
    values[offsets[9]] = MISSING
    found = measured(spec, Ragged(values, offsets), logits)
    kept = [row != MISSING for row in Ragged(values, offsets)]
    true = [row[own] for row, own in zip(Ragged(values, offsets), kept, strict=True) if own.any()]
    predicted = [row[own] for row, own in zip(guess, kept, strict=True) if own.any()]
    metrics = found.metrics
    assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(np.concatenate(true), np.concatenate(predicted)))
    assert len(found.rows) == len(true) == len(found.sums)
    if scheme == "plain":
        pair = np.concatenate(true), np.concatenate(predicted)
        assert metrics["macro_f1"] == pytest.approx(sk.f1_score(*pair, average="macro", zero_division=0))
        assert metrics["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(*pair))
        return
    names = np.array(spec.classes)
    pair = [names[row].tolist() for row in true], [names[row].tolist() for row in predicted]
    for name in ("precision", "recall", "f1"):
        assert metrics[f"entity_{name}"] == pytest.approx(getattr(seqeval, f"{name}_score")(*pair))
    report = seqeval.classification_report(*pair, output_dict=True, zero_division=0)
    for one in found.by_label():
        row = report[one.label]
        expected = [row["precision"], row["recall"], row["f1-score"], row["support"]]
        assert [one.precision, one.recall, one.f1, one.rows] == pytest.approx(expected)


def test_a_label_that_only_the_table_has_counts_as_wrong_and_is_never_dropped() -> None:
    spec, logits = mh.Multiclass(LABELS), drawn(1).normal(0, 2, (6, 4)).astype(np.float32)
    cells = ["a", "b", "zebra", "c", "zebra", None]
    unknown = find_unknown(spec, cells, "head", "table", None)
    assert unknown is not None
    rows = scored_rows(spec, None, logits, NEUTRAL, unknown)
    found = measures_of(rows)
    guess = [*logits[:5].argmax(axis=1)]
    true = [0, 1, 4, 2, 4]
    assert found.metrics["accuracy"] == pytest.approx(sk.accuracy_score(true, guess))
    assert found.metrics["macro_f1"] == pytest.approx(sk.f1_score(true, guess, average="macro", zero_division=0))
    known = np.array([0, 1, 3])
    loss = sk.log_loss([0, 1, 2], spec.scores(logits[known].astype(np.float64), NEUTRAL), labels=range(4))
    assert found.metrics["log_loss"] == pytest.approx(loss, rel=1e-5)
    zebra = found.by_label()[-1]
    assert (zebra.label, zebra.rows, zebra.predicted, zebra.recall) == ("zebra", 2, 0, 0.0)
    assert not found.right[[2, 4]].any()
    several = find_unknown(mh.MultiLabel(LABELS), [["a", "zebra"], ["b"]], "head", "table", None)
    assert several is not None
    hits = np.array([[9, -9, -9, -9], [-9, 9, -9, -9]], dtype=np.float32)
    found = measures_of(scored_rows(mh.MultiLabel(LABELS), None, hits, mh.Decision(thresholds=[0.5] * 4), several))
    assert found.metrics["micro_recall"] == pytest.approx(2 / 3)
    assert found.metrics["exact_match"] == 0.5


def test_metrics_of_a_part_are_those_of_its_rows() -> None:
    draw = drawn(4)
    targets, logits = draw.integers(0, 4, 90), draw.normal(0, 2, (90, 4)).astype(np.float32)
    for spec in (mh.Multiclass(LABELS), mh.Ordinal(LABELS)):
        whole, part = measured(spec, targets, logits[:, : spec.outputs]), np.arange(10, 50)
        alone = measured(spec, targets[part], logits[part, : spec.outputs])
        sums = whole.from_sums(whole.sums.rows(part).total())
        expected = alone.from_sums(alone.sums.total())
        assert {name: value[0] for name, value in sums.items()} == pytest.approx(
            {name: value[0] for name, value in expected.items()}
        )
        none = whole.from_sums(whole.sums.rows(part[:0]).total())
        assert np.isnan(none["accuracy"][0])


def test_intervals_are_those_of_resampled_texts() -> None:
    texts = [f"text {row // 3}" for row in range(300)]  # each text three times
    right = np.repeat(drawn(0).random(100) < 0.7, 3)
    draws = Resamples(texts).means(right)
    found = interval(draws)
    assert found is not None
    # The standard error of 100 texts, not of 300 rows.
    error = np.sqrt(right.mean() * (1 - right.mean()) / 100)
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.1)
    assert draws.mean() == pytest.approx(right.mean(), abs=0.01)
    assert np.array_equal(draws, Resamples(texts).means(right))
    uneven = ["one text"] * 200 + [f"text {row}" for row in range(100)]
    assert Resamples(uneven).means(np.ones(300)).tolist() == [1.0] * 1000


def test_the_calibration_error_of_right_probabilities_is_its_noise_floor() -> None:
    draw = drawn(6)
    inside, errors, floors = 0, [], []
    for _ in range(60):
        probabilities = draw.uniform(0.3, 1, 400)
        found = calibration(Statements("labels", probabilities, draw.random(400) < probabilities))
        inside += found.within_noise
        errors.append(found.error)
        floors.append(found.floor)
    assert np.mean(errors) == pytest.approx(np.mean(floors), rel=0.1)
    assert inside >= 51  # 57 expected; fewer than 51 in 60 has a probability below .01
    sure = calibration(Statements("labels", np.full(400, 0.95), np.arange(400) % 2 == 0))
    assert sure.error == pytest.approx(0.45)
    assert not sure.within_noise


def test_the_calibration_error_by_hand() -> None:
    probabilities = np.array([0.1, 0.9, 0.2, 0.8])
    found = calibration(Statements("labels", probabilities, np.array([False, True, True, False])))
    assert found.error == pytest.approx((0.1 + 0.8 + 0.8 + 0.1) / 4)
    assert sum(one.count for one in found.bins) == 4
    many = calibration(Statements("labels", drawn(0).random(100), np.ones(100, dtype=bool)))
    assert len(many.bins) == BINS
    assert {one.count for one in many.bins} == {6, 7}


def test_risk_at_every_coverage_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.8, 0.7, 0.2])
    found = risk_coverage(confidence, np.array([True, True, False, True, False]))
    assert found.coverage == pytest.approx((0.2, 0.6, 0.8, 1.0))
    assert found.risk == pytest.approx((0, 1 / 3, 1 / 4, 2 / 5))
    assert found.coverage_at_risk == pytest.approx(0.2)
    assert risk_coverage(confidence, np.zeros(5, dtype=bool)).coverage_at_risk == 0
    assert risk_coverage(confidence, np.ones(5, dtype=bool)).coverage_at_risk == 1
