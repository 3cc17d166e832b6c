"""Heads solved on frozen features reach scikit-learn's optimum, for the same penalty."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

import manyheads as mh
from manyheads.heads import HeadSpec
from manyheads.training.solving.calibration import best_scale
from manyheads.training.solving.design import DenseDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.scaling import Scaling
from manyheads.training.solving.solve import solve
from tests.families import BY_NAME, WORDS, tokenizer_for

ROWS, WIDTH = 150, 12
LABELS = ["routine", "urgent", "emergency"]
STRENGTHS = [1.0, 0.1, 0.01, 0.001, 0.0001]
WEIGHTS = [0.5, 1.0, 3.0]

every_strength = pytest.mark.parametrize("l2", STRENGTHS)
weightings = pytest.mark.parametrize("weights", [None, WEIGHTS, "balanced"], ids=["plain", "weighted", "balanced"])


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    """(rows, width) fp64, standardised, with columns that depend on each other."""
    draw = np.random.default_rng(0)
    raw = draw.normal(size=(ROWS, WIDTH)) @ draw.normal(size=(WIDTH, WIDTH)) + draw.normal(size=WIDTH)
    return StandardScaler().fit_transform(raw)


@pytest.fixture(scope="module")
def classes(features: np.ndarray) -> np.ndarray:
    """Three classes of unequal size that the features tell apart in part."""
    draw = np.random.default_rng(1)
    scores = features[:, :3] + draw.gumbel(size=(ROWS, 3)) + [0.0, -1.0, -2.0]
    return scores.argmax(axis=1)


@pytest.fixture(scope="module")
def marks(features: np.ndarray) -> np.ndarray:
    """(rows, 3) zeros and ones, rare and frequent."""
    draw = np.random.default_rng(2)
    return (features[:, 3:6] + draw.normal(size=(ROWS, 3)) > [0.0, 1.0, -1.0]).astype(np.float32)


@pytest.fixture(scope="module")
def numbers(features: np.ndarray) -> np.ndarray:
    draw = np.random.default_rng(3)
    return (features @ draw.normal(size=WIDTH) + draw.normal(size=ROWS) + 40.0).astype(np.float32)


def problem(spec: HeadSpec, features: np.ndarray, targets: np.ndarray) -> Problem:
    """Return the problem as training poses it, balanced weights worked out."""
    encoded = torch.from_numpy(targets)
    given = spec.class_weights
    weights = spec.balanced_weights(encoded) if given == "balanced" else None if given is None else torch.tensor(given)
    return Problem(spec, DenseDesign(torch.from_numpy(features)), encoded, weights)


def objective(posed: Problem, layer: Linear, l2: float) -> float:
    return float(posed.loss(layer)) + 0.5 * l2 * float(layer.weight.square().sum())


def from_numpy(weight: np.ndarray, bias: np.ndarray) -> Linear:
    return Linear(torch.from_numpy(np.atleast_2d(weight)), torch.from_numpy(np.atleast_1d(bias)))


def solved(posed: Problem, l2: float) -> Linear:
    return solve(posed, l2, Linear.zeros(posed.spec.outputs, posed.design.width, torch.float64))


def logistic(c: float, class_weight: object = None) -> LogisticRegression:
    return LogisticRegression(C=c, class_weight=class_weight, tol=1e-10, max_iter=10_000)


def assert_optimal(posed: Problem, l2: float, mine: Linear, theirs: Linear) -> None:
    """Compare the objective, and what the solutions say of the rows."""
    best = objective(posed, theirs, l2)
    assert objective(posed, mine, l2) == pytest.approx(best, rel=1e-4)
    torch.testing.assert_close(mine(posed.design.values), theirs(posed.design.values), atol=3e-2, rtol=0)


# --- the solver, against scikit-learn -------------------------------------------------------------


@every_strength
@weightings
def test_multiclass_is_logistic_regression(
    features: np.ndarray, classes: np.ndarray, l2: float, weights: object
) -> None:
    posed = problem(mh.Multiclass(labels=LABELS, class_weights=weights), features, classes)
    per_class = dict(enumerate(WEIGHTS)) if weights == WEIGHTS else weights
    row_weights = np.ones(ROWS) if weights is None else posed.class_weights.numpy()[classes]
    found = logistic(1 / (l2 * row_weights.sum()), per_class).fit(features, classes)
    assert_optimal(posed, l2, solved(posed, l2), from_numpy(found.coef_, found.intercept_))


@every_strength
def test_multilabel_is_one_logistic_regression_per_label(features: np.ndarray, marks: np.ndarray, l2: float) -> None:
    posed = problem(mh.MultiLabel(labels=LABELS), features, marks)
    found = OneVsRestClassifier(logistic(1 / (l2 * marks.size))).fit(features, marks)
    weight = np.concatenate([one.coef_ for one in found.estimators_])
    bias = np.concatenate([one.intercept_ for one in found.estimators_])
    assert_optimal(posed, l2, solved(posed, l2), from_numpy(weight, bias))


@every_strength
@pytest.mark.parametrize("weights", [WEIGHTS, "balanced"], ids=["weighted", "balanced"])
def test_multilabel_weights_are_those_of_the_positive_class(
    features: np.ndarray, marks: np.ndarray, l2: float, weights: object
) -> None:
    posed = problem(mh.MultiLabel(labels=LABELS, class_weights=weights), features, marks)
    if weights == "balanced":
        expected = (marks == 0).sum(axis=0) / (marks == 1).sum(axis=0)
        np.testing.assert_allclose(posed.class_weights.numpy(), expected, rtol=1e-6)
    ones = [
        logistic(1 / (l2 * marks.size), {0: 1.0, 1: float(weight)}).fit(features, marks[:, label])
        for label, weight in enumerate(posed.class_weights)
    ]
    theirs = from_numpy(np.concatenate([one.coef_ for one in ones]), np.concatenate([one.intercept_ for one in ones]))
    assert_optimal(posed, l2, solved(posed, l2), theirs)


@every_strength
def test_regression_is_ridge(features: np.ndarray, numbers: np.ndarray, l2: float) -> None:
    posed = problem(mh.Regression(), features, numbers)
    found = Ridge(alpha=l2 * ROWS / 2).fit(features, numbers.astype(float))
    assert_optimal(posed, l2, solved(posed, l2), from_numpy(found.coef_, found.intercept_))


def test_regression_without_a_penalty_is_least_squares(features: np.ndarray, numbers: np.ndarray) -> None:
    mine = solved(problem(mh.Regression(), features, numbers), 0.0)
    theirs = np.linalg.lstsq(np.column_stack([features, np.ones(ROWS)]), numbers, rcond=None)[0]
    np.testing.assert_allclose(mine.weight[0], theirs[:-1], atol=1e-5)
    np.testing.assert_allclose(mine.bias[0], theirs[-1], atol=1e-5)


def test_balanced_weights_are_scikit_learns(classes: np.ndarray) -> None:
    spec = mh.Multiclass(labels=LABELS, class_weights="balanced")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=classes)
    np.testing.assert_allclose(spec.balanced_weights(torch.from_numpy(classes)), expected, rtol=1e-6)


def test_balanced_weights_see_neither_missing_rows_nor_labels_without_rows(classes: np.ndarray) -> None:
    spec = mh.Multiclass(labels=["never", *LABELS], class_weights="balanced")
    shifted = np.concatenate([classes + 1, [-100, -100]])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=classes)
    found = spec.balanced_weights(torch.from_numpy(shifted))
    np.testing.assert_allclose(found[1:], expected, rtol=1e-6)
    assert float(found[0]) == 1.0


@pytest.mark.parametrize(
    "spec", [mh.Multiclass(labels=LABELS), mh.MultiLabel(labels=LABELS)], ids=["multiclass", "multilabel"]
)
def test_the_start_does_not_matter(
    features: np.ndarray, classes: np.ndarray, marks: np.ndarray, spec: HeadSpec
) -> None:
    posed = problem(spec, features, classes if spec.kind == "multiclass" else marks)
    far = Linear(torch.full((3, WIDTH), 5.0, dtype=torch.float64), torch.full((3,), -5.0, dtype=torch.float64))
    near, other = solved(posed, 0.01), solve(posed, 0.01, far)
    assert objective(posed, other, 0.01) == pytest.approx(objective(posed, near, 0.01), rel=1e-5)


@every_strength
def test_more_features_than_rows_and_classes_that_a_line_parts(l2: float) -> None:
    draw = np.random.default_rng(6)
    wide, classes = StandardScaler().fit_transform(draw.normal(size=(40, 200))), np.arange(40) % 3
    posed = problem(mh.Multiclass(labels=LABELS), wide, classes)
    found = logistic(1 / (l2 * 40)).fit(wide, classes)
    best = objective(posed, from_numpy(found.coef_, found.intercept_), l2)
    assert objective(posed, solved(posed, l2), l2) == pytest.approx(best, rel=1e-4)


def test_fp32_features_reach_the_same_optimum(features: np.ndarray, classes: np.ndarray) -> None:
    posed = problem(mh.Multiclass(labels=LABELS), features, classes)
    single = problem(mh.Multiclass(labels=LABELS), features.astype(np.float32), classes)
    best = objective(posed, solved(posed, 0.001), 0.001)
    assert objective(single, solved(single, 0.001), 0.001) == pytest.approx(best, rel=1e-4)


def test_missing_multilabel_cells_are_no_rows_of_their_label(features: np.ndarray, marks: np.ndarray) -> None:
    gaps = marks.copy()
    gaps[::3, 0] = gaps[1::4, 2] = np.nan
    posed, l2 = problem(mh.MultiLabel(labels=LABELS), features, gaps), 0.01
    cells = (~np.isnan(gaps)).sum()
    ones = []
    for label in range(3):
        present = ~np.isnan(gaps[:, label])
        ones.append(logistic(1 / (l2 * cells)).fit(features[present], gaps[present, label]))
    theirs = from_numpy(np.concatenate([one.coef_ for one in ones]), np.concatenate([one.intercept_ for one in ones]))
    assert_optimal(posed, l2, solved(posed, l2), theirs)


def test_scaling_is_standard_scaler_and_folds_back(numbers: np.ndarray) -> None:
    raw = np.random.default_rng(4).normal(3.0, 20.0, size=(ROWS, 4))
    raw[:, 2] = 7.0  # constant: it must neither divide by zero nor move the bias
    scaling = Scaling.of(torch.from_numpy(raw))
    standard = StandardScaler().fit_transform(raw)
    np.testing.assert_allclose(scaling.apply(torch.from_numpy(raw)), standard, atol=1e-12)
    layer = from_numpy(np.array([1.0, -2.0, 3.0, 0.5]), np.array([4.0]))
    folded = layer.unscaled(scaling)
    np.testing.assert_allclose(folded(torch.from_numpy(raw)), layer(torch.from_numpy(standard)), atol=1e-12)


# --- the whole way: from texts to logits ----------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> list[dict[str, object]]:
    draw = np.random.default_rng(5)
    rows = []
    for row in range(120):
        words = draw.choice(WORDS, size=draw.integers(2, 9), replace=False)
        rows.append(
            {
                "note": f"{' '.join(words)} {WORDS[row % len(WORDS)]} {WORDS[row // len(WORDS)]}",
                "urgency": LABELS[int(draw.choice(3, p=[0.6, 0.3, 0.1]))] if row % 5 else None,
                "topics": [LABELS[k] for k in range(3) if draw.random() < 0.4] if row % 4 else None,
                "hours": float(len(words) + draw.normal()) if row % 3 else None,
            }
        )
    return rows


def trained(spec: HeadSpec, head: str, table: list[dict[str, object]], l2: float | None) -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head(head, spec)
    mh.train(model, table, text="note", method=mh.Frozen(l2=l2), eval_fraction=0)
    return model


def vectors(model: mh.HeadedModel, texts: list[str]) -> np.ndarray:
    """Return the masked mean of the last hidden states, by transformers alone, one text at a time."""
    with torch.no_grad():
        states = [
            model.backbone(**model.tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states[-1]
            for text in texts
        ]
    return np.stack([state[0].mean(dim=0).double().numpy() for state in states])


@pytest.mark.parametrize("head", ["urgency", "urgency, balanced", "topics", "hours"])
def test_frozen_training_is_what_scikit_learn_does_with_the_same_features(
    table: list[dict[str, object]], head: str
) -> None:
    head, _, weights = head.partition(", ")
    rows = [row for row in table if row[head] is not None]
    l2, n = 0.01, len(rows)
    spec = {
        "urgency": mh.Multiclass(labels=LABELS, class_weights=weights or None, reads=mh.Hidden()),
        "topics": mh.MultiLabel(labels=LABELS, reads=mh.Hidden()),
        "hours": mh.Regression(reads=mh.Hidden()),
    }[head]
    model = trained(spec, head, table, l2)
    raw = vectors(model, [str(row["note"]) for row in rows])
    standard = StandardScaler().fit_transform(raw)

    if head == "urgency":
        targets = np.array([LABELS.index(row[head]) for row in rows])
        expected = logistic(1 / (l2 * n), weights or None).fit(standard, targets).decision_function(standard)
    elif head == "topics":
        marks = np.array([[label in row[head] for label in LABELS] for row in rows], dtype=int)
        expected = OneVsRestClassifier(logistic(1 / (l2 * 3 * n))).fit(standard, marks).decision_function(standard)
    else:
        values = np.array([row[head] for row in rows])
        expected = Ridge(alpha=l2 * n / 2).fit(standard, values).predict(standard)[:, None]

    found = model.predict([str(row["note"]) for row in rows]).logits[head]
    np.testing.assert_allclose(found, expected, atol=2e-2)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99999


def test_a_smoothed_head_is_scikit_learns_on_rows_that_hold_every_label_in_part(table: list[dict[str, object]]) -> None:
    rows = [row for row in table if row["urgency"] is not None]
    l2, smoothing, n = 0.01, 0.3, len(rows)
    spec = mh.Multiclass(labels=LABELS, label_smoothing=smoothing, reads=mh.Hidden())
    model = trained(spec, "urgency", table, l2)
    standard = StandardScaler().fit_transform(vectors(model, [str(row["note"]) for row in rows]))
    own = np.array([LABELS.index(str(row["urgency"])) for row in rows])
    shares = smoothing / 3 + (1 - smoothing) * (np.arange(3) == own[:, None])
    copies = np.repeat(standard, 3, axis=0)
    solved = logistic(1 / (l2 * n)).fit(copies, np.tile(np.arange(3), n), sample_weight=shares.ravel())
    found = model.predict([str(row["note"]) for row in rows]).logits["urgency"]
    np.testing.assert_allclose(found, solved.decision_function(standard), atol=2e-2)


def test_without_a_strength_the_lowest_point_of_the_path_is_taken(table: list[dict[str, object]]) -> None:
    """Of a parabola through the best penalty and its neighbors, with the penalty of the summed loss that folds have."""
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    head = model.add_head("label", mh.Multiclass(labels=LABELS, reads=mh.Hidden()))
    standard = StandardScaler().fit_transform(vectors(model, [str(row["note"]) for row in table]))
    draw, interior = np.random.default_rng(0), 0
    for noise in (1.0, 2.0, 4.0):
        logits = standard @ draw.normal(size=(standard.shape[1], 3)) / 3
        classes = (logits + noise * draw.normal(size=logits.shape)).argmax(axis=1)
        rows = [{**row, "label": LABELS[place]} for row, place in zip(table, classes.tolist(), strict=True)]
        result = mh.train(model, rows, text="note", eval_fraction=0)
        tried = {np.log(trial.settings["l2"]): trial.loss for trial in result.search["label"]}
        place = int(np.argmin(list(tried.values())))
        around = list(tried)[max(place - 1, 0) : place + 2]
        lowest = around[min(place, 1)]
        if len(around) == 3:
            interior += 1
            square, line, _ = np.polyfit(around, [tried[each] for each in around], 2)
            lowest = -line / (2 * square)
        # A fold leaves out about a fifth of the rows.
        assert result.chosen["label"]["l2"] == pytest.approx(0.8 * np.exp(lowest), rel=0.05)
    assert interior >= 1
    chosen, scale = (head.summary["settings"].get(name, 1.0) for name in ("l2", "scale"))
    again = trained(mh.Multiclass(labels=LABELS, reads=mh.Hidden()), "label", rows, chosen)
    texts = [str(row["note"]) for row in table]
    found, expected = (trained_one.predict(texts).logits["label"] for trained_one in (model, again))
    np.testing.assert_allclose(found, scale * expected, atol=3e-2)


def test_the_scale_is_the_coefficient_of_a_logistic_regression_on_the_logits() -> None:
    draw = np.random.default_rng(0)
    margin = draw.normal(size=20_000)
    labels = (draw.random(20_000) < 1 / (1 + np.exp(-3 * margin))).astype(np.int64)
    logits = torch.from_numpy(np.stack([np.zeros(20_000), margin], axis=1))
    found = best_scale(mh.Multiclass(["a", "b"]), logits, torch.from_numpy(labels), None)
    fitted = LogisticRegression(C=np.inf, fit_intercept=False).fit(margin[:, None], labels)
    assert found == pytest.approx(float(fitted.coef_[0, 0]), rel=2e-3)
    assert 2 < found < 4


def test_a_few_items_that_are_all_right_make_no_head_certain() -> None:
    logits, classes = torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 5), torch.tensor([0, 1] * 5)
    spec = mh.Multiclass(["a", "b"])
    few = best_scale(spec, logits, classes, None)
    many = best_scale(spec, logits.repeat(100, 1), classes.repeat(100), None)
    assert 1 < few < 4 < many


def test_a_given_strength_is_not_scaled(table: list[dict[str, object]]) -> None:
    model = trained(mh.Multiclass(labels=LABELS, reads=mh.Hidden()), "urgency", table, 0.1)
    assert model.heads["urgency"].summary["settings"] == {"l2": 0.1}


def test_dropout_of_a_solved_head_changes_nothing(table: list[dict[str, object]]) -> None:
    plain = trained(mh.Regression(), "hours", table, 0.1)
    dropped = trained(mh.Regression(dropout=0.5), "hours", table, 0.1)
    assert torch.equal(plain.heads["hours"].output.weight, dropped.heads["hours"].output.weight)


def test_a_dead_dimension_gets_no_weight_to_speak_of() -> None:
    draw = np.random.default_rng(8)
    raw = draw.normal(size=(100, 6)).astype(np.float32)
    raw[:, 2] = -1e-7 + 2e-9 * draw.normal(size=100)  # rounding, as in three of MiniLM's 384 dimensions
    scaling = Scaling.of(torch.from_numpy(raw))
    assert float(scaling.deviation[2]) == 1.0
    assert float(scaling.apply(torch.from_numpy(raw))[:, 2].abs().max()) < 1e-6
