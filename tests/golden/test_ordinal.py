"""Ordered labels: the loss and the probabilities by hand, the solved head and the metrics by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import cohen_kappa_score, log_loss

import manyheads as mh
from manyheads.evaluation.metrics import measure
from manyheads.training.solving.design import DenseDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.solve import solve
from tests.families import BY_NAME, TEXTS, tokenizer_for

LEVELS = ["low", "middle", "high", "highest"]
WEIGHTS = [0.5, 1.0, 2.0, 4.0]
ROWS, WIDTH = 240, 8

# Odds of 3, 1 and 1/3: probabilities 3/4, 1/2 and 1/4 of going beyond the label that was reached.
LOGITS = torch.tensor([[math.log(3), 0.0, -math.log(3)]])


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.normal(size=(ROWS, WIDTH)) @ draw.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5


@pytest.fixture(scope="module")
def ranks(features: np.ndarray) -> np.ndarray:
    """Four levels of unequal size, that the features tell apart in part."""
    told = features[:, 0] + features[:, 1] + np.random.default_rng(1).logistic(size=ROWS)
    return np.digitize(told, [-0.5, 0.8, 2.0])


def problem(features: np.ndarray, ranks: np.ndarray, weights: list[float] | None = None) -> Problem:
    given = None if weights is None else torch.tensor(weights)
    return Problem(mh.Ordinal(LEVELS), DenseDesign(torch.from_numpy(features)), torch.from_numpy(ranks).long(), given)


def solved(posed: Problem, l2: float) -> Linear:
    return solve(posed, l2, Linear.zeros(3, posed.design.width, torch.float64), 1e-15)


def by_scikit_learn(features: np.ndarray, ranks: np.ndarray, l2: float, weights: list[float] | None) -> Linear:
    """One logistic regression per task, on the rows that reach it.

    Our mean is over the cells of all tasks, so that the penalty is the same share of each: C = 1 / (l2 * cells).
    """
    of_row = np.ones(len(ranks)) if weights is None else np.array(weights)[ranks]
    cells = sum(of_row[ranks >= task].sum() for task in range(3))
    found = []
    for task in range(3):
        subset = ranks >= task
        one = LogisticRegression(C=1 / (l2 * cells), tol=1e-12, max_iter=100_000)
        found.append(one.fit(features[subset], ranks[subset] > task, sample_weight=of_row[subset]))
    weight = np.concatenate([one.coef_ for one in found])
    return Linear(torch.from_numpy(weight), torch.from_numpy(np.concatenate([one.intercept_ for one in found])))


# --- by hand --------------------------------------------------------------------------------------


def test_the_loss_is_over_the_tasks_that_a_row_reaches() -> None:
    spec, logits = mh.Ordinal(LEVELS), LOGITS.expand(5, 3)
    terms = spec.loss(logits, torch.tensor([0, 1, 3, 2, -100]), None)
    # y = 0: not beyond 0. y = 1: beyond 0, not 1. y = 3: beyond all. y = 2: beyond 0 and 1, not 2.
    rows = [[1 / 4], [3 / 4, 1 / 2], [3 / 4, 1 / 2, 1 / 4], [3 / 4, 1 / 2, 3 / 4]]
    expected = -sum(math.log(probability) for row in rows for probability in row)
    assert float(terms.total) == pytest.approx(expected, rel=1e-6)
    assert (float(terms.weight), terms.count) == (9.0, 9)
    weighted = spec.loss(logits, torch.tensor([0, 1, 3, 2, -100]), torch.tensor(WEIGHTS))
    by_row = [-sum(map(math.log, row)) for row in rows]
    by_weight = 0.5 * by_row[0] + 1.0 * by_row[1] + 4.0 * by_row[2] + 2.0 * by_row[3]
    assert float(weighted.total) == pytest.approx(by_weight, rel=1e-6)
    assert float(weighted.weight) == 0.5 * 1 + 1.0 * 2 + 4.0 * 3 + 2.0 * 3


def test_the_loss_is_the_one_that_its_authors_document() -> None:
    """The example in the docstring of ``coral_pytorch.losses.corn_loss``, with the number printed there."""
    with torch.random.fork_rng():
        torch.manual_seed(123)
        features = torch.rand(8, 99)
        logits = torch.nn.Linear(99, 4)(features)
    terms = mh.Ordinal(list(range(5))).loss(logits, torch.tensor([0, 1, 2, 2, 2, 3, 4, 4]), None)
    assert float(terms.mean.detach()) == pytest.approx(0.7127, abs=5e-5)


def test_the_probabilities_are_products_of_the_conditional_ones() -> None:
    scores = mh.Ordinal(LEVELS).raw_scores(LOGITS.numpy())
    # 1/4; 3/4 * 1/2; 3/4 * 1/2 * 3/4; 3/4 * 1/2 * 1/4.
    np.testing.assert_allclose(scores, [[8 / 32, 12 / 32, 9 / 32, 3 / 32]], rtol=1e-6)
    assert scores.dtype == np.float32


def logits_of(scores: np.ndarray) -> np.ndarray:
    """Return the logits (..., labels - 1) of probabilities (..., labels)."""
    reached = np.cumsum(scores[..., ::-1], axis=-1)[..., ::-1]
    conditional = reached[..., 1:] / reached[..., :-1]
    return np.log(conditional / (1 - conditional))


def test_the_label_is_the_median_and_its_score_its_own_probability() -> None:
    spec = mh.Ordinal(LEVELS)
    # More than half lies beyond "low" and not beyond "middle", though "low" is the most probable label.
    scores = np.array([0.4, 0.3, 0.2, 0.1])
    reported = spec.prediction(logits_of(scores), scores, mh.Decision())
    assert (reported.label, reported.score) == ("middle", 0.3)
    assert dict(reported.scores) == dict(zip(LEVELS, [0.4, 0.3, 0.2, 0.1], strict=True))
    draw = np.random.default_rng(2).dirichlet(np.ones(4), size=500)
    distance = np.abs(np.arange(4)[:, None] - np.arange(4))
    np.testing.assert_array_equal(spec.positions(logits_of(draw)), (draw @ distance).argmin(axis=1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0, 10_000.0])
def test_probabilities_stay_probabilities_however_far_the_logits(dtype: type, scale: float) -> None:
    logits = (np.random.default_rng(3).normal(size=(500, 9)) * scale).astype(dtype)
    spec = mh.Ordinal(list(range(10)))
    scores = spec.raw_scores(logits)
    assert scores.shape == (500, 10)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=20 * np.finfo(dtype).eps)
    beyond = 1 - np.cumsum(scores.astype(np.float64), axis=1)[:, :-1]
    assert (np.diff(beyond, axis=1) <= 0).all()
    exact = torch.from_numpy(logits).double().sigmoid().cumprod(dim=1).numpy()
    np.testing.assert_allclose(beyond, exact, atol=20 * np.finfo(dtype).eps)
    far = np.abs(exact - 0.5).min(axis=1) > 1e-5
    np.testing.assert_array_equal(spec.positions(logits)[far], (exact > 0.5).sum(axis=1)[far])


def test_two_labels_are_a_logistic_regression() -> None:
    logits = np.array([[-2.0], [0.5]], dtype=np.float32)
    scores = mh.Ordinal(["no", "yes"]).raw_scores(logits)
    np.testing.assert_allclose(scores[:, 1], 1 / (1 + np.exp(-logits[:, 0])), rtol=1e-6)


# --- scikit-learn ---------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_the_solved_head_is_one_logistic_regression_per_task(
    features: np.ndarray, ranks: np.ndarray, l2: float, weights: list[float] | None
) -> None:
    posed = problem(features, ranks, weights)
    mine, theirs = solved(posed, l2), by_scikit_learn(features, ranks, l2, weights)
    torch.testing.assert_close(mine.weight, theirs.weight, atol=1e-4, rtol=0)
    torch.testing.assert_close(mine.bias, theirs.bias, atol=1e-4, rtol=0)


def test_curvature_is_the_second_derivative_of_the_mean_loss(ranks: np.ndarray) -> None:
    spec, targets = mh.Ordinal(LEVELS), torch.from_numpy(ranks).long()
    logits = torch.randn(ROWS, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    shift = torch.zeros(3, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda by: spec.loss(logits + by, targets, None).mean, shift)
    torch.testing.assert_close(spec.curvature(logits, targets), hessian.diagonal())
    assert float(hessian.fill_diagonal_(0.0).abs().max()) == 0.0  # tasks are apart


def test_the_metrics_are_scikit_learns(ranks: np.ndarray) -> None:
    spec = mh.Ordinal(LEVELS)
    logits = np.random.default_rng(5).normal(size=(ROWS, 3)).astype(np.float32) + ranks[:, None] - 1
    targets = ranks.copy()
    targets[::7] = -100
    found = measure(spec, targets, logits)
    kept = targets >= 0
    scores = spec.raw_scores(logits[kept].astype(np.float64))
    guesses = (torch.from_numpy(logits[kept]).double().sigmoid().cumprod(dim=1) > 0.5).sum(dim=1).numpy()
    assert found["rows"] == kept.sum()
    assert found["accuracy"] == pytest.approx((guesses == targets[kept]).mean())
    assert found["mean_absolute_error"] == pytest.approx(np.abs(guesses - targets[kept]).mean())
    assert found["quadratic_kappa"] == pytest.approx(cohen_kappa_score(targets[kept], guesses, weights="quadratic"))
    assert found["log_loss"] == pytest.approx(log_loss(targets[kept], scores, labels=range(4)))
    assert spec.main_metric == "quadratic_kappa"


def test_a_kappa_without_any_difference_is_undefined_and_no_label_is_no_metric() -> None:
    spec, sure = mh.Ordinal(LEVELS), np.full((3, 3), -9.0, dtype=np.float32)
    alike = measure(spec, np.array([0, 0, -100]), sure)
    assert math.isnan(alike["quadratic_kappa"])
    assert alike["mean_absolute_error"] == 0.0
    assert measure(spec, np.array([-100, -100, -100]), sure) == {"rows": 0}


# --- the whole way --------------------------------------------------------------------------------


def table() -> list[dict[str, object]]:
    """Texts whose level is how long they are; some levels are missing."""
    rows = [{"text": f"{text} {tail}", "words": len(text.split())} for tail in ("today", "again") for text in TEXTS]
    return [{**row, "level": LEVELS[min(int(row["words"]) // 4, 3)] if place % 9 else None}  # type: ignore[call-overload]
            for place, row in enumerate(rows * 3)]  # fmt: skip


@pytest.mark.parametrize("method", [mh.Frozen(cache=None), mh.Full(epochs=1, best_by="mean")], ids=["frozen", "full"])
@pytest.mark.parametrize("hidden", [(), (8,)], ids=["linear", "stacked"])
def test_it_trains_predicts_and_is_scored_like_any_head(method: object, hidden: tuple[int, ...]) -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("level", mh.Ordinal(LEVELS, hidden=hidden, class_weights="balanced"))
    result = mh.train(model, table(), text="text", method=method, eval_fraction=0.2)  # type: ignore[arg-type]
    assert {"accuracy", "mean_absolute_error", "quadratic_kappa", "majority_accuracy"} <= result.metrics["level"].keys()
    predictions = model.predict(TEXTS)
    assert predictions.scores["level"].shape == (len(TEXTS), 4)
    assert predictions.logits["level"].shape == (len(TEXTS), 3)
    first = predictions[0]["level"]
    assert first.score == first.scores[first.label]
    columns = predictions.to_arrow(all_scores=True)
    assert columns.column_names == ["level_label", "level_score", *(f"level_score_{level}" for level in LEVELS)]
    assert columns["level_label"].to_pylist() == [row["level"].label for row in predictions]
    assert columns["level_score"].to_pylist() == [row["level"].score for row in predictions]


def test_class_weights_are_one_per_label() -> None:
    assert mh.Ordinal(LEVELS, class_weights=dict(zip(LEVELS, WEIGHTS, strict=True))).class_weights == tuple(WEIGHTS)
    with pytest.raises(mh.errors.HeadError, match="Ordinal: class_weights must be None, 'balanced' or 4 numbers"):
        mh.Ordinal(LEVELS, class_weights=[1.0, 1.0, 1.0])


@pytest.mark.parametrize("labels", [["low"], ["low", "low"], "low", None], ids=repr)
def test_labels_that_have_no_order_are_rejected(labels: object) -> None:
    with pytest.raises(mh.errors.HeadError, match="Ordinal: "):
        mh.Ordinal(labels)  # type: ignore[arg-type]
