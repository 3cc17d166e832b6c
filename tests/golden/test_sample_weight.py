"""Weighted rows train like repeated rows, and like scikit-learn's ``sample_weight``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight

import manyheads as mh
from manyheads.heads import HeadSpec
from manyheads.training.solving.calibration import best_scale
from manyheads.training.solving.design import DenseDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.solve import solve, solve_parts
from tests.families import BY_NAME, WORDS, tokenizer_for

ROWS, WIDTH, L2 = 120, 6, 0.01
LABELS = ["low", "middle", "high"]
WEIGHTS = [0.5, 1.0, 3.0]


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.normal(size=(ROWS, WIDTH)) @ draw.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """How often each row occurs: 1 to 4 times."""
    return np.random.default_rng(1).integers(1, 5, size=ROWS)


def targets_of(kind: str, features: np.ndarray) -> np.ndarray:
    draw = np.random.default_rng(2)
    classes = (features[:, :3] + draw.gumbel(size=(ROWS, 3))).argmax(axis=1)
    marks = (features[:, 3:6] + draw.normal(size=(ROWS, 3)) > 0).astype(np.float32)
    shares = np.exp(features[:, :3])
    return {
        "multiclass": classes,
        "ordinal": classes,
        "shares": (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
        "multilabel": marks,
        "regression": (features[:, 0] + draw.normal(size=ROWS) + 7).astype(np.float32),
        "count": draw.poisson(np.exp(features[:, 0] / 2)).astype(np.float32),
        "tokens": classes,
    }[kind]


SPECS: dict[str, HeadSpec] = {
    "multiclass": mh.Multiclass(LABELS, label_smoothing=0.1),
    "ordinal": mh.Ordinal(LABELS),
    "shares": mh.Multiclass(LABELS),
    "multilabel": mh.MultiLabel(LABELS),
    "regression": mh.Regression(),
    "count": mh.Count(),
    "tokens": mh.Tokens(["symptom"]),
}
every_kind = pytest.mark.parametrize("kind", SPECS)
weightings = pytest.mark.parametrize("class_weights", [None, WEIGHTS, "balanced"], ids=["plain", "given", "balanced"])


def problem(spec: HeadSpec, features: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> Problem:
    """Return the problem as training poses it."""
    encoded, given = torch.from_numpy(targets), spec.class_weights
    by_row = None if weights is None else torch.from_numpy(weights / weights.mean())
    if given == "balanced":
        by_class = spec.balanced_weights(encoded, by_row)
    else:
        by_class = None if given is None else torch.tensor(given)
    return Problem(spec, DenseDesign(torch.from_numpy(features)), encoded, by_class, sample_weight=by_row)


def solved(posed: Problem) -> Linear:
    return solve(posed, L2, Linear.zeros(posed.spec.outputs, WIDTH, torch.float64), 1e-14)


# --- the solver -----------------------------------------------------------------------------------


@every_kind
@weightings
def test_integer_weights_are_repeated_rows(
    features: np.ndarray, counts: np.ndarray, kind: str, class_weights: Any
) -> None:
    if SPECS[kind].has_values and class_weights is not None:
        return
    spec, targets = replace(SPECS[kind], class_weights=class_weights), targets_of(kind, features)
    weighted = problem(spec, features, targets, counts.astype(float))
    repeated = problem(spec, np.repeat(features, counts, axis=0), np.repeat(targets, counts, axis=0), None)
    if class_weights == "balanced":
        torch.testing.assert_close(weighted.class_weights, repeated.class_weights)
    mine, theirs = solved(weighted), solved(repeated)
    torch.testing.assert_close(mine.weight, theirs.weight, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine.bias, theirs.bias, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weighted.loss(mine), repeated.loss(mine))
    scores = repeated.logits(mine) * 0.5
    if spec.has_labels:
        half = 0.5 * weighted.logits(mine)
        scale = best_scale(spec, half, weighted.targets, weighted.class_weights, weighted.sample_weight)
        assert scale == pytest.approx(best_scale(spec, scores, repeated.targets, repeated.class_weights), rel=0.05)


@every_kind
def test_parts_take_the_weights_of_their_rows(features: np.ndarray, counts: np.ndarray, kind: str) -> None:
    posed = problem(SPECS[kind], features, targets_of(kind, features), counts.astype(float))
    rows = torch.arange(ROWS)
    parts = [rows[rows % 2 == 0], rows[rows % 2 == 1]]
    start = Linear.zeros(posed.spec.outputs, WIDTH, torch.float64).repeated(2)
    together = solve_parts(posed, parts, L2, start, 1e-14)
    for number, part in enumerate(parts):
        torch.testing.assert_close(together[number].weight, solved(posed.take(part)).weight, atol=1e-4, rtol=1e-3)


def test_the_solutions_are_scikit_learns(features: np.ndarray) -> None:
    weights = np.random.default_rng(3).gamma(1.0, size=ROWS)
    total = ROWS  # relative weights add up to the rows

    def expected(model: Any, targets: np.ndarray) -> np.ndarray:
        found = model.fit(features, targets, sample_weight=weights / weights.mean())
        return np.column_stack([np.atleast_2d(found.coef_), np.atleast_1d(found.intercept_)])

    logistic = LogisticRegression(C=1 / (L2 * total), tol=1e-12, max_iter=10_000)
    rivals = {
        "multiclass": (mh.Multiclass(LABELS), logistic),
        "regression": (mh.Regression(), Ridge(alpha=L2 * total / 2)),
        "count": (mh.Count(), PoissonRegressor(alpha=L2, tol=1e-12, max_iter=10_000)),
    }
    for kind, (spec, rival) in rivals.items():
        targets = targets_of(kind, features)
        mine, theirs = solved(problem(spec, features, targets, weights)), expected(rival, targets.astype(float))
        found = np.column_stack([mine.weight.numpy(), mine.bias.numpy()])
        if kind == "multiclass":
            found, theirs = found - found.mean(axis=0), theirs - theirs.mean(axis=0)
        np.testing.assert_allclose(found, theirs, atol=2e-4)


def test_balanced_weights_are_scikit_learns(features: np.ndarray) -> None:
    weights, classes = np.random.default_rng(3).gamma(1.0, size=ROWS), targets_of("multiclass", features)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=classes, sample_weight=weights)
    found = mh.Multiclass(LABELS).balanced_weights(torch.from_numpy(classes), torch.from_numpy(weights))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# --- the forward ----------------------------------------------------------------------------------


def headed() -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("multiclass", mh.Multiclass(LABELS, class_weights=WEIGHTS))
    model.add_head("ordinal", mh.Ordinal(LABELS))
    model.add_head("multilabel", mh.MultiLabel(LABELS))
    model.add_head("regression", mh.Regression())
    model.add_head("tokens", mh.Tokens(["symptom"]))
    return model.eval()


def examples(weights: list[float] | None) -> list[dict[str, Any]]:
    rows = []
    for row in range(5):
        labels = {
            "multiclass": row % 3,
            "ordinal": (row + 1) % 3,
            "multilabel": [1.0, row % 2, 0.3],
            "regression": float(row),
            "tokens": [0, 1, -100, 2][: 2 + row % 3],
        }
        own = {} if weights is None else {"sample_weight": weights[row]}
        rows.append({"input_ids": [5 + row, 6, 7, 8][: 2 + row % 3], "labels": labels, **own})
    return rows


def test_the_loss_of_a_forward_is_that_of_repeated_rows() -> None:
    model, counts = headed(), [2, 0, 1, 3, 1]
    weighted = model(**mh.collate(examples([0.5 * count for count in counts])))
    plain = examples(None)
    repeated = model(**mh.collate([plain[row] for row in range(5) for _ in range(counts[row])]))
    assert weighted.loss is not None
    torch.testing.assert_close(weighted.loss, repeated.loss)
    torch.testing.assert_close(weighted.losses, repeated.losses)
    torch.testing.assert_close({name: 2 * weight for name, weight in weighted.weights.items()}, repeated.weights)


def test_rows_without_weight_give_no_loss_and_no_gradient() -> None:
    model = headed()
    batch = mh.collate(examples([0.0] * 5))
    out = model(**batch)
    assert float(out.loss.detach()) == 0.0
    assert set(out.counts.values()) == {0}
    out.loss.backward()
    assert all(parameter.grad is None for parameter in model.parameters())


BAD: dict[str, tuple[Any, str]] = {
    "another shape": (torch.ones(4), r"must be a tensor \(5,\), one per row, got \(4,\)"),
    "a column": (torch.ones(5, 1), r"must be a tensor \(5,\), one per row, got \(5, 1\)"),
    "a list": ([1.0] * 5, r"must be a tensor \(5,\), one per row, got list"),
    "negative": (torch.tensor([1.0, -1, 1, 1, 1]), "must be finite and at least 0, got -1"),
    "not a number": (torch.tensor([1.0, torch.nan, 1, 1, 1]), "must be finite and at least 0, got nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_other_weights_are_errors(case: str) -> None:
    weights, words = BAD[case]
    with pytest.raises(mh.errors.InputError, match=f"sample_weight {words}"):
        headed()(**mh.collate(examples(None)), sample_weight=weights)


def test_every_example_has_a_weight_or_none_has() -> None:
    mixed = [*examples(None)[:1], *examples([1.0] * 5)[1:]]
    with pytest.raises(mh.errors.InputError, match="some examples have a sample_weight and some have none"):
        mh.collate(mixed)


# --- the whole way --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> list[dict[str, Any]]:
    draw = np.random.default_rng(5)
    rows = []
    for row in range(80):
        words = draw.choice(WORDS, size=draw.integers(2, 9), replace=False)
        text = f"{' '.join(words)} {WORDS[row % len(WORDS)]} {WORDS[row // len(WORDS)]}"
        rows.append(
            {
                "note": text,
                "level": LABELS[int(draw.choice(3, p=[0.6, 0.3, 0.1]))] if row % 5 else None,
                "votes": {"low": int(draw.integers(3)), "middle": int(draw.integers(2)), "high": 1},
                "hours": float(len(words) + draw.normal()) if row % 3 else None,
                "tags": ["long" if len(word) > 5 else "short" for word in text.split()],
                "w": int(draw.integers(0, 4)),
            }
        )
    return rows


HEADS: dict[str, HeadSpec] = {
    "level": mh.Multiclass(LABELS, class_weights="balanced", reads=mh.Hidden()),
    "votes": mh.Ordinal(LABELS, reads=[mh.Hidden(), mh.Hidden(layer=-2, pool="max")]),
    "hours": mh.Regression(reads=mh.Hidden()),
    "tags": mh.Tokens(["long", "short"], scheme="plain", words="spaces", reads=mh.Hidden()),
}


def trained(
    table: list[dict[str, Any]], heads: dict[str, HeadSpec], method: Any, weight: str | None = "w"
) -> tuple[mh.HeadedModel, Any]:
    torch.manual_seed(0)
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    for name, spec in heads.items():
        model.add_head(name, spec)
    return model, mh.train(model, table, text="note", method=method, eval_fraction=0, weight=weight)


def test_training_with_integer_weights_is_training_on_repeated_rows(table: list[dict[str, Any]]) -> None:
    repeated = [row for row in table for _ in range(row["w"])]
    weighted, _ = trained(table, HEADS, mh.Frozen(l2=L2))
    expected, _ = trained(repeated, HEADS, mh.Frozen(l2=L2), weight=None)
    texts = [row["note"] for row in table]
    found, wanted = weighted.predict(texts).logits, expected.predict(texts).logits
    for name in HEADS:
        pair = [logits.values if name == "tags" else logits for logits in (found[name], wanted[name])]
        np.testing.assert_allclose(*pair, atol=2e-2)
    assert weighted.heads["level"].summary["weight"] == "w"


def test_training_with_weights_is_scikit_learns_on_the_same_features(table: list[dict[str, Any]]) -> None:
    model, _ = trained(table, {"level": HEADS["level"]}, mh.Frozen(l2=L2))
    rows = [row for row in table if row["level"] is not None]
    weights = np.array([row["w"] for row in rows], dtype=float)
    with torch.no_grad():
        states = [model.backbone.bert(**model.tokenizer(row["note"], return_tensors="pt")) for row in rows]  # type: ignore
    raw = np.stack([one.last_hidden_state[0].mean(dim=0).double().numpy() for one in states])
    standard = StandardScaler().fit(raw, sample_weight=weights).transform(raw)
    theirs = LogisticRegression(C=1 / (L2 * weights.sum()), class_weight="balanced", tol=1e-10, max_iter=10_000)
    expected = theirs.fit(standard, [LABELS.index(row["level"]) for row in rows], sample_weight=weights)
    found = model.predict([row["note"] for row in rows]).logits["level"]
    np.testing.assert_allclose(found, expected.decision_function(standard), atol=2e-2)


METHODS = {
    "frozen": mh.Frozen(),
    "fork": mh.Fork(top=1, epochs=1),
    "lora": mh.LoRA(r=2, epochs=1),
    "full": mh.Full(epochs=1, start="random"),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_row_with_weight_zero_is_no_row_and_equal_weights_are_none(table: list[dict[str, Any]], method: Any) -> None:
    heads = {**HEADS, "hours": mh.Regression(hidden=[4]), "level": mh.Multiclass(LABELS, class_weights="balanced")}
    doubled = [{**row, "w": 0.25 if row["w"] else 0.0} for row in table]
    weighted, result = trained(doubled, heads, method)
    expected, _ = trained([row for row in table if row["w"]], heads, method, weight=None)
    texts = [row["note"] for row in table]
    found, wanted = weighted.predict(texts).logits, expected.predict(texts).logits
    for name in heads:
        pair = [logits.values if name == "tags" else logits for logits in (found[name], wanted[name])]
        np.testing.assert_allclose(*pair, atol=2e-2)
    assert any("rows have the weight 0 and were left out" in note for note in result.notes)


@pytest.mark.parametrize("method", [mh.Fork(top=1, epochs=1), mh.Full(epochs=1)], ids=["fork", "full"])
def test_weights_reach_every_step(table: list[dict[str, Any]], method: Any) -> None:
    method = replace(method, start="random", head_lr=1e-2)
    heavy = [{**row, "w": 1000.0 if row["level"] == "high" else 1.0} for row in table if row["level"]]
    model, _ = trained(heavy, {"level": mh.Multiclass(LABELS, reads=mh.Hidden())}, method)
    plain, _ = trained(heavy, {"level": mh.Multiclass(LABELS, reads=mh.Hidden())}, method, weight=None)
    texts = [row["note"] for row in heavy]
    shares = [one.predict(texts).scores["level"][:, 2].mean() for one in (model, plain)]
    assert shares[0] > shares[1] + 0.05
