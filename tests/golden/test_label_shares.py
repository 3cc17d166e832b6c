"""Heads trained on shares of labels are those of scikit-learn on rows repeated per label, weighted by the share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, cohen_kappa_score, log_loss
from sklearn.preprocessing import StandardScaler
from torch.nn import functional as F

import manyheads as mh
from manyheads.evaluation.metrics import measure
from manyheads.heads import HeadSpec, ShareTargets
from manyheads.training.solving.design import DenseDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.solve import solve
from tests.families import BY_NAME, WORDS, tokenizer_for

ROWS, WIDTH, L2 = 150, 8, 0.01
LABELS = ["low", "middle", "high"]
WEIGHTS = [0.5, 1.0, 3.0]


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    draw = np.random.default_rng(0)
    raw = draw.normal(size=(ROWS, WIDTH)) @ draw.normal(size=(WIDTH, WIDTH))
    return StandardScaler().fit_transform(raw)


@pytest.fixture(scope="module")
def votes(features: np.ndarray) -> np.ndarray:
    """(rows, 3) votes of five annotators, some of them of one mind."""
    draw = np.random.default_rng(1)
    scores = np.exp(2 * features[:, :3])
    return np.stack([draw.multinomial(5, row / row.sum()) for row in scores])


def cells(votes: np.ndarray) -> list[dict[str, int]]:
    return [{label: int(count) for label, count in zip(LABELS, row, strict=True) if count} for row in votes]


def encoded(spec: HeadSpec, votes: np.ndarray) -> np.ndarray:
    targets = spec.encode(cells(votes), "head", "table")
    assert isinstance(targets, ShareTargets)
    return targets.values


def solved(spec: HeadSpec, features: np.ndarray, targets: np.ndarray, weights: torch.Tensor | None) -> Linear:
    posed = Problem(spec, DenseDesign(torch.from_numpy(features)), torch.from_numpy(targets), weights)
    return solve(posed, L2, Linear.zeros(spec.outputs, WIDTH, torch.float64), 1e-14)


def logistic(weight: float) -> LogisticRegression:
    return LogisticRegression(C=1 / (L2 * weight), tol=1e-10, max_iter=10_000)


# --- the solver, against scikit-learn -------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, WEIGHTS, "balanced"], ids=["plain", "weighted", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2], ids=["sharp", "smooth"])
def test_multiclass_is_logistic_regression_on_rows_repeated_per_label(
    features: np.ndarray, votes: np.ndarray, weights: Any, smoothing: float
) -> None:
    spec = mh.Multiclass(labels=LABELS, class_weights=weights, label_smoothing=smoothing)
    shares = votes / 5
    counted = shares.sum(axis=0)
    given = ROWS / (3 * counted) if weights == "balanced" else np.array(weights or [1.0] * 3)
    if weights == "balanced":
        np.testing.assert_allclose(spec.balanced_weights(torch.from_numpy(encoded(spec, votes))), given, rtol=1e-6)
    mine = solved(spec, features, encoded(spec, votes), None if weights is None else torch.from_numpy(given).float())
    # Class weights are factors of each label's part, and the mean is over the weights before smoothing.
    smooth = (shares * (1 - smoothing) + smoothing / 3) * given
    total = float((shares * given).sum())
    repeated, labels = np.repeat(features, 3, axis=0), np.tile(np.arange(3), ROWS)
    theirs = logistic(total).fit(repeated, labels, sample_weight=smooth.ravel())
    found = mine(torch.from_numpy(features)).numpy()
    expected = theirs.decision_function(features)
    centred = [logits - logits.mean(axis=1, keepdims=True) for logits in (found, expected)]
    np.testing.assert_allclose(*centred, atol=1e-3)


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_ordinal_is_one_regression_per_task_on_rows_repeated_per_label(
    features: np.ndarray, votes: np.ndarray, weights: Any
) -> None:
    spec = mh.Ordinal(labels=LABELS, class_weights=weights)
    mine = solved(spec, features, encoded(spec, votes), None if weights is None else torch.tensor(weights))
    repeated, labels = np.repeat(features, 3, axis=0), np.tile(np.arange(3), ROWS)
    of_row = (votes / 5 * np.array(weights or [1.0] * 3)).ravel()
    total = sum(of_row[labels >= task].sum() for task in range(2))
    for task in range(2):
        kept = (labels >= task) & (of_row > 0)
        theirs = logistic(total).fit(repeated[kept], labels[kept] > task, sample_weight=of_row[kept])
        np.testing.assert_allclose(mine.weight[task], theirs.coef_[0], atol=1e-4)
        np.testing.assert_allclose(mine.bias[task], theirs.intercept_[0], atol=1e-4)


def test_multilabel_is_one_regression_per_label_on_rows_repeated_with_yes_and_no(
    features: np.ndarray, votes: np.ndarray
) -> None:
    spec, probabilities = mh.MultiLabel(labels=LABELS), votes / 5
    named = [dict(zip(LABELS, row, strict=True)) for row in probabilities.tolist()]
    mine = solved(spec, features, spec.encode(named, "head", "table").values, None)
    repeated = np.concatenate([features, features])
    for label in range(3):
        yes = probabilities[:, label]
        answers, weights = np.repeat([1, 0], ROWS), np.concatenate([yes, 1 - yes])
        theirs = logistic(3 * ROWS).fit(repeated, answers, sample_weight=weights)
        np.testing.assert_allclose(mine.weight[label], theirs.coef_[0], atol=1e-4)


def test_shares_of_one_label_each_are_that_label(features: np.ndarray, votes: np.ndarray) -> None:
    positions = votes.argmax(axis=1)
    alone = [{LABELS[position]: 3} for position in positions]
    for spec in (mh.Multiclass(labels=LABELS), mh.Ordinal(labels=LABELS)):
        targets = spec.encode(alone, "head", "table").values
        logits = torch.from_numpy(features[:, : spec.outputs]).float()
        for weights in (None, torch.tensor(WEIGHTS)):
            shared = spec.loss(logits, torch.from_numpy(targets), weights)
            single = spec.loss(logits, torch.from_numpy(positions), weights)
            torch.testing.assert_close((shared.total, shared.weight), (single.total, single.weight))
            assert shared.count == single.count


# --- the forward, against torch -------------------------------------------------------------------


def test_the_loss_of_a_forward_is_torchs_cross_entropy_with_probabilities(votes: np.ndarray) -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("level", mh.Multiclass(labels=LABELS, label_smoothing=0.1))
    encoding = [{"input_ids": [5 + row, 6, 7], "labels": {"level": (votes[row] / 5).tolist()}} for row in range(6)]
    encoding[2]["labels"] = {}
    batch = mh.collate(encoding)
    out = model(**batch)
    kept = [0, 1, 3, 4, 5]
    probabilities = torch.from_numpy(votes[kept] / 5).float()
    expected = F.cross_entropy(out.logits["level"][kept], probabilities, label_smoothing=0.1)
    torch.testing.assert_close(out.loss, expected)
    assert out.counts == {"level": 5}
    # Votes are divided by their sum.
    counted = torch.from_numpy(votes[:6]).float()
    counted[2] = torch.nan
    torch.testing.assert_close(model(**{**batch, "labels": {"level": counted}}).loss, expected)


# --- the whole way --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> list[dict[str, object]]:
    """Texts with the votes of three annotators; some have none, and some only one label."""
    draw = np.random.default_rng(5)
    rows = []
    for row in range(100):
        words = draw.choice(WORDS, size=draw.integers(2, 9), replace=False)
        counts = draw.multinomial(3, [0.5, 0.3, 0.2])
        cell: object = {label: int(count) for label, count in zip(LABELS, counts, strict=True)}
        cell = (None, {}, LABELS[row % 3])[row % 8] if row % 8 < 3 else cell
        rows.append({"note": f"{' '.join(words)} {WORDS[row % len(WORDS)]}", "level": cell})
    return rows


def trained(table: list[dict[str, object]], spec: HeadSpec, method: Any, **settings: Any) -> tuple[Any, Any]:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("level", spec)
    return model, mh.train(model, table, text="note", method=method, **settings)


def as_shares(cell: object) -> np.ndarray | None:
    if not cell:
        return None
    counts = np.array([cell.get(label, 0) if isinstance(cell, dict) else cell == label for label in LABELS], float)
    return counts / counts.sum()


def test_frozen_training_is_scikit_learns_on_the_same_features(table: list[dict[str, object]]) -> None:
    spec = mh.Multiclass(labels=LABELS, reads=mh.Hidden())
    model, _ = trained(table, spec, mh.Frozen(l2=L2), eval_fraction=0)
    kept = [(str(row["note"]), shares) for row in table if (shares := as_shares(row["level"])) is not None]
    texts = [text for text, _ in kept]
    standard = StandardScaler().fit_transform(vectors(model, texts))
    weights = np.stack([shares for _, shares in kept])
    theirs = logistic(len(kept)).fit(
        np.repeat(standard, 3, axis=0), np.tile(np.arange(3), len(kept)), sample_weight=weights.ravel()
    )
    found = model.predict(texts).logits["level"]
    np.testing.assert_allclose(found, theirs.decision_function(standard), atol=2e-2)


def vectors(model: mh.HeadedModel, texts: list[str]) -> np.ndarray:
    """Return the mean of the last hidden states, by transformers alone, one text at a time."""
    with torch.no_grad():
        states = [model.backbone.bert(**model.tokenizer(text, return_tensors="pt")) for text in texts]  # type: ignore
    return np.stack([state.last_hidden_state[0].mean(dim=0).double().numpy() for state in states])


METHODS = {"frozen": mh.Frozen(), "fork": mh.Fork(top=1, epochs=1), "full": mh.Full(epochs=1)}
SPECS = {
    "multiclass": mh.Multiclass(labels=LABELS, class_weights="balanced"),
    "ordinal": mh.Ordinal(labels=LABELS, hidden=[4]),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_method_trains_on_shares_and_measures_by_them(
    table: list[dict[str, object]], spec: HeadSpec, method: Any
) -> None:
    model, result = trained(table, spec, method, eval_fraction=0.25)
    rows = [table[row] for row in result.evaluated]
    labelled = [(str(row["note"]), shares) for row in rows if (shares := as_shares(row["level"])) is not None]
    predictions = model.predict([text for text, _ in labelled])
    shares = np.stack([own for _, own in labelled])
    scores = predictions.scores["level"].astype(float)
    scores /= scores.sum(axis=1, keepdims=True)
    expected = log_loss(
        np.tile(np.arange(3), len(shares)), np.repeat(scores, 3, axis=0), sample_weight=shares.ravel(), labels=range(3)
    )
    found = result.metrics["level"]
    assert found["log_loss"] == pytest.approx(expected, rel=1e-3)
    guesses = [LABELS.index(str(prediction["level"].label)) for prediction in predictions]
    assert found["accuracy"] == pytest.approx(accuracy_score(shares.argmax(axis=1), guesses))
    assert found["majority_accuracy"] > 0
    assert len(result.mistakes("level")) == round((1 - found["accuracy"]) * len(labelled))


def test_training_on_labels_and_evaluating_on_shares_and_the_other_way_round(table: list[dict[str, object]]) -> None:
    plain = [{**row, "level": LABELS[place % 3]} for place, row in enumerate(table)]
    spec = mh.Multiclass(labels=LABELS, reads=mh.Hidden())
    for train, evaluate in ((plain, table), (table, plain)):
        _, result = trained(train, spec, mh.Frozen(l2=L2), eval_data=evaluate)
        assert result.rows["level"] == {
            "train": sum(as_shares(row["level"]) is not None for row in train),
            "evaluate": sum(as_shares(row["level"]) is not None for row in evaluate),
        }
    unknown = [*table, {"note": "something new", "level": {"low": 1, "other": 1}}]
    _, result = trained(plain, spec, mh.Frozen(l2=L2), eval_data=unknown)
    assert any("'other'" in note for note in result.notes)


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_take_the_most_probable_label(votes: np.ndarray) -> None:
    spec, logits = mh.Ordinal(labels=LABELS), np.random.default_rng(2).normal(size=(ROWS, 2)).astype(np.float32)
    shares = encoded(spec, votes)
    shares[::7] = np.nan
    found = measure(spec, shares, logits)
    kept = ~np.isnan(shares[:, 0])
    scores = spec.raw_scores(logits[kept].astype(np.float64))
    guesses, likely = spec.positions(logits[kept]), votes[kept].argmax(axis=1)
    assert found["rows"] == kept.sum()
    assert found["accuracy"] == pytest.approx(accuracy_score(likely, guesses))
    assert found["quadratic_kappa"] == pytest.approx(cohen_kappa_score(likely, guesses, weights="quadratic"))
    expected = log_loss(
        np.tile(np.arange(3), kept.sum()), np.repeat(scores, 3, axis=0), sample_weight=votes[kept].ravel()
    )
    assert found["log_loss"] == pytest.approx(expected, rel=1e-5)
