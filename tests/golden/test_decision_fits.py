"""Prediction sets, abstention, thresholds and costs: numbers from MAPIE, scipy and by hand."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom, entropy

import manyheads as mh
from manyheads.deciding.promises.abstention import threshold_for_error, threshold_for_share
from manyheads.deciding.promises.confident_abstention import confident_threshold, p_values
from manyheads.deciding.promises.costs import read_costs
from manyheads.deciding.promises.label_thresholds import for_precision, for_recall
from manyheads.deciding.promises.risk_coverage import risk_coverage
from manyheads.deciding.promises.sets import set_threshold
from manyheads.heads.abstention import abstention_scores
from manyheads.heads.answers import answers
from manyheads.heads.prediction_sets import conformity_scores


def drawn(rows: int, labels: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (rows, labels), and a label of each row drawn from them."""
    draw = np.random.default_rng(seed)
    scores = softmax(2 * draw.normal(size=(rows, labels)), axis=1)
    return scores, np.array([draw.choice(labels, p=row) for row in scores])


class Prefit:
    """A fitted classifier for MAPIE, whose features are the probabilities."""

    def __init__(self, labels: int) -> None:
        self.classes_ = np.arange(labels)

    def fit(self, features: np.ndarray, labels: np.ndarray) -> Prefit:
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        return features.argmax(axis=1)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        return features

    def __sklearn_is_fitted__(self) -> bool:
        return True


@pytest.mark.parametrize("coverage", [0.9, 0.95])
def test_sets_are_those_of_mapie(coverage: float) -> None:
    from mapie.classification import SplitConformalClassifier

    scores, labels = drawn(200)
    fresh, _ = drawn(300, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = SplitConformalClassifier(Prefit(5), coverage, "lac", prefit=True).conformalize(scores, labels)
        _, theirs = other.predict_set(fresh)
    assert theirs.any(axis=1).all()  # else ours would differ by the predicted label
    right = conformity_scores(scores, scores.argmax(axis=1), "lac")[np.arange(200), labels]
    ours = conformity_scores(fresh, fresh.argmax(axis=1), "lac") <= set_threshold(right, coverage, "")
    np.testing.assert_array_equal(ours, theirs[:, :, 0])


def test_aps_scores_are_those_of_mapie() -> None:
    from mapie.conformity_scores import APSConformityScore

    scores, labels = drawn(200)
    theirs, _ = APSConformityScore.get_true_label_cumsum_proba(labels, scores, np.arange(5))
    ours = conformity_scores(scores, scores.argmax(axis=1), "aps")[np.arange(200), labels]
    np.testing.assert_allclose(ours, np.where(labels == scores.argmax(axis=1), 0, theirs[:, 0]))


def test_the_set_threshold_is_the_quantile_with_one_more_row() -> None:
    right = np.array([0.3, 0.1, 0.9, 0.7, 0.2, 0.4, 0.5, 0.6, 0.8])
    # k = ceil(10 * .8) = 8, and ceil(10 * .9) = 9.
    assert set_threshold(right, 0.8, "") == 0.8
    assert set_threshold(right, 0.9, "") == 0.9


def test_conformity_scores_by_hand() -> None:
    scores = np.array([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(conformity_scores(scores, np.array([1]), "lac"), [[0.8, 0, 0.7]])
    np.testing.assert_allclose(conformity_scores(scores, np.array([1]), "aps"), [[1, 0, 0.8]])
    np.testing.assert_allclose(conformity_scores(scores, np.array([2]), "aps"), [[1, 0.5, 0]])


def test_abstention_scores_are_entropy_and_largest_probability() -> None:
    scores, _ = drawn(50)
    np.testing.assert_allclose(abstention_scores(scores, "entropy"), 1 - entropy(scores, axis=1) / np.log(5))
    np.testing.assert_array_equal(abstention_scores(scores, "probability"), scores.max(axis=1))
    assert abstention_scores(np.eye(3, dtype=np.float32), "entropy").tolist() == [1, 1, 1]
    np.testing.assert_allclose(abstention_scores(np.full((1, 4), 0.25), "entropy"), 0, atol=1e-12)


def test_the_curve_answers_equal_scores_together() -> None:
    curve = risk_coverage(np.array([0.9, 0.5, 0.7, 0.7, 0.2]), np.array([False, True, False, True, False]))
    assert curve.thresholds.tolist() == [0.9, 0.7, 0.5, 0.2]
    assert curve.answered.tolist() == [1, 3, 4, 5]
    assert curve.errors.tolist() == [0, 1, 2, 2]
    np.testing.assert_allclose(curve.risk, [0, 1 / 3, 1 / 2, 2 / 5])
    np.testing.assert_allclose(curve.coverage, [0.2, 0.6, 0.8, 1])


def test_max_error_takes_the_lowest_threshold_with_two_errors_to_spare() -> None:
    scores, wrong = np.arange(100, 0, -1) / 100, np.zeros(100, dtype=bool)
    wrong[[40, 60, 99]] = True
    # All 100 answers have three errors: 5 / 101 <= .05.
    assert threshold_for_error(risk_coverage(scores, wrong), 0.05, "") == 0.01
    wrong[[97, 98]] = True
    # The 98 surest have three, 5 / 99 > .05; the 97 surest have two, 4 / 98 <= .05.
    assert threshold_for_error(risk_coverage(scores, wrong), 0.05, "") == 0.04


def test_answered_takes_a_low_quantile() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, 100) / 100)
    # k = floor(.05 * 100) = 5, the fifth lowest: 95 of 99 reach it.
    assert threshold_for_share(scores, 0.95, "") == 0.05
    assert threshold_for_share(scores, 0.9, "") == 0.1


def test_p_values_are_those_of_mapie() -> None:
    from mapie.risk_control import BinaryClassificationController

    draw = np.random.default_rng(0)
    scores = draw.random(400)
    wrong = draw.random(400) < 0.2 * (1 - scores)
    curve = risk_coverage(scores, wrong)
    tested = curve.answered >= 50
    controller = BinaryClassificationController(
        lambda features: np.stack([1 - features, features], axis=1),
        "precision",
        target_level=0.9,
        list_predict_params=curve.thresholds[tested],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controller.calibrate(scores, ~wrong)
    theirs = controller.p_values
    assert theirs is not None
    ours = p_values(curve, 0.1)[tested]
    # MAPIE rounds up the product of a rounded quotient, and so sometimes counts one error more.
    one_more = binom.cdf(curve.errors + 1, curve.answered, 0.1)[tested]
    assert (ours <= theirs[:, 0] + 1e-12).all()
    assert (theirs[:, 0] <= one_more + 1e-12).all()
    assert np.isclose(theirs[:, 0], ours).mean() > 0.5


def test_a_confident_threshold_answers_less_than_an_average_one() -> None:
    draw = np.random.default_rng(0)
    scores = draw.random(2000)
    curve = risk_coverage(scores, draw.random(2000) < 0.3 * (1 - scores))
    average, confident, surer = (
        threshold_for_error(curve, 0.05, ""),
        confident_threshold(curve, 0.05, 0.9, ""),
        confident_threshold(curve, 0.05, 0.99, ""),
    )
    assert average < confident <= surer
    at = np.searchsorted(-curve.thresholds, -confident)
    assert p_values(curve, 0.05)[at] <= 0.1


def test_thresholds_for_a_precision_and_a_recall() -> None:
    scores = np.arange(40, 0, -1) / 40
    positives = np.arange(40) < 30
    positives[10] = False
    # Precision .9: 30 answers have one error, 3 / 31 <= .1; 31 have two, 4 / 32 > .1.
    assert for_precision(scores, positives, 0.9) == 11 / 40
    assert for_precision(scores, ~positives, 0.9) is None
    # Recall .9 of 29 positives: floor(.1 * 30) = 3, the third lowest of them.
    assert for_recall(scores, positives, 0.9) == 13 / 40
    assert for_recall(scores, positives, 0.99) is None


def test_the_label_with_the_least_expected_cost_is_predicted() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.98, 0.01, 0.01]])
    costs = [[0.0, 1.0, 4.0], [2.0, 0.0, 1.0], [20.0, 5.0, 0.0]]
    found = answers(scores, scores.argmax(axis=1), mh.Decision(costs=costs))
    # Row 1: .2 * 2 + .1 * 20 = 2.4; .7 + .1 * 5 = 1.2; .7 * 4 + .2 = 3. Row 2: .22; 1.03; 3.93.
    assert found.positions.tolist() == [1, 0]
    assert found.costs is not None
    np.testing.assert_allclose(found.costs, [1.2, 0.22])


def test_costs_are_read_from_mappings_matrices_and_files(tmp_path: Path) -> None:
    labels = ("low", "middle", "high")
    expected = [[0, 1, 1], [1, 0, 1], [20, 5, 0]]
    (tmp_path / "costs.csv").write_text("right,low,middle\nhigh,20,5\nlow,,\n")
    for costs in (
        {"high": {"low": 20, "middle": 5}},
        expected,
        np.array(expected),
        tmp_path / "costs.csv",
        str(tmp_path / "costs.csv"),
    ):
        np.testing.assert_array_equal(read_costs(costs, labels, "Head 'level'"), expected)
