"""Losses on the comparison rows, against scikit-learn and by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

import manyheads as mh
from manyheads.heads import RowTargets
from manyheads.heads.logits import Logits, RowLogits, WordLogits
from manyheads.heads.ragged import Ragged, offsets_of
from manyheads.heads.targets import WordTargets
from manyheads.training.auto.comparison_rows import for_comparison, untrainable
from manyheads.training.auto.row_losses import RowLosses, constant_loss
from manyheads.training.dataset import TrainingData
from tests.families import BY_NAME, tokenizer_for

SPECS: dict[str, Any] = {
    "kind": mh.Multiclass(["a", "b", "c"]),
    "pay": mh.Regression(),
    "words": mh.Tokens(["x", "y", "z"], scheme="plain"),
}
KIND = np.array([0, 1, 2, 0, -100, 1, 0, 2])
PAY = np.array([1000.0, 2000.0, np.nan, 3000.0, 4000.0, 0.0, 1000.0, 2000.0], dtype=np.float32)
WORDS = [np.array([0, 1]), np.array([1]), np.array([-100]), np.array([2, 2, 0])] * 2


@pytest.fixture(scope="module")
def heads() -> dict[str, Any]:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    for name, spec in SPECS.items():
        model.add_head(name, spec)
    return dict(model.heads)


def data() -> TrainingData:
    """Return eight rows, of which the first four are compared on."""
    targets = {"kind": RowTargets(KIND), "pay": RowTargets(PAY), "words": WordTargets(Ragged.of(WORDS))}
    texts = [f"text {row}" for row in range(8)]
    return TrainingData(None, texts, targets, np.arange(4, 8), np.arange(4), 0, "")  # type: ignore[arg-type]


def logits(heads: dict[str, Any]) -> dict[str, Logits]:
    draw = np.random.default_rng(0)
    words = Ragged(draw.normal(size=(7, 3)).astype(np.float32), offsets_of(np.array([2, 1, 1, 3])))
    return {
        "kind": RowLogits(draw.normal(size=(4, 3)).astype(np.float32)),
        "pay": RowLogits(np.array([[1500.0], [2000.0], [0.0], [2000.0]], dtype=np.float32)),
        "words": WordLogits(words),
    }


def test_classes_have_their_log_loss(heads: dict[str, Any]) -> None:
    found, given = RowLosses(heads, data()), logits(heads)
    probabilities = torch.from_numpy(given["kind"].values).double().softmax(1).numpy()
    assert found.mean(given)["kind"] == pytest.approx(log_loss(KIND[:4], probabilities, labels=[0, 1, 2]))
    entropy = -(0.5 * np.log(0.5) + 2 * 0.25 * np.log(0.25))  # of the labels 0, 1, 2, 0
    own = -np.log(probabilities[np.arange(4), KIND[:4]])
    np.testing.assert_allclose(found.shares(given)[0], own / entropy, rtol=1e-5)


def test_numbers_count_as_a_share_of_their_variance(heads: dict[str, Any]) -> None:
    # Errors 500, 0 and 1000; the labels 1000, 2000 and 3000 have a variance of 2e6 / 3. The row without a label is 0.
    shares = RowLosses(heads, data()).shares(logits(heads))[1]
    np.testing.assert_allclose(shares, np.array([250_000, 0, 0, 1_000_000]) / (2e6 / 3) * 4 / 3, rtol=1e-5)


def test_the_words_of_a_text_belong_to_one_row(heads: dict[str, Any]) -> None:
    found, given = RowLosses(heads, data()), logits(heads)
    values, labels = given["words"].values.values, np.concatenate(WORDS[:4])
    of_word = -torch.from_numpy(values).double().log_softmax(1).numpy()[np.arange(7), labels.clip(0)]
    of_word[labels < 0] = 0.0
    assert found.mean(given)["words"] == pytest.approx(of_word.sum() / 6)
    rows = np.array([of_word[:2].sum(), of_word[2], 0.0, of_word[4:].sum()])
    constant = -sum(count / 6 * np.log(count / 6) for count in (2, 2, 2))
    np.testing.assert_allclose(found.shares(given)[2], rows * 4 / 6 / constant, rtol=1e-5)


def test_logits_that_are_too_certain_are_compared_at_their_best_temperature(heads: dict[str, Any]) -> None:
    found, given = RowLosses(heads, data()), logits(heads)
    best, certain = found.least_shares(given), {name: values.scaled(7.0) for name, values in given.items()}
    np.testing.assert_allclose(best[1], found.shares(given)[1])  # numbers have no temperature
    for head in (0, 2):
        assert best[head].mean() <= found.shares(given)[head].mean()
        # The prior counts like one more row, so the temperature is not quite seven times as large.
        assert found.least_shares(certain)[head].mean() < 0.7 * found.shares(certain)[head].mean()


def test_heads_without_a_label_there_are_left_out(heads: dict[str, Any]) -> None:
    found = RowLosses(heads, replace(data(), evaluate=np.array([4])))
    assert found.heads == ["pay", "words"]


@pytest.mark.parametrize(
    ("spec", "targets", "expected"),
    [
        (mh.Multiclass(["a", "b"]), np.array([0, 0, 0, 1]), -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))),
        (mh.Regression(), np.array([1.0, 3.0], dtype=np.float32), 1.0),
        (mh.MultiLabel(["a", "b"]), np.array([[1, 0], [0, 0]], dtype=np.float32), np.log(2) / 2),
        (mh.Multiclass(["a", "b"]), np.array([1, 1]), 0.0),
    ],
)
def test_the_best_constant(spec: Any, targets: np.ndarray, expected: float) -> None:
    assert constant_loss(spec, torch.from_numpy(targets), None) == pytest.approx(expected, abs=1e-4)


# --- the comparison rows --------------------------------------------------------------------------


def many(rows: int) -> TrainingData:
    targets = {"kind": RowTargets(np.arange(rows + 5) % 3)}
    texts = [f"text {row // 2}" for row in range(rows + 5)]
    return TrainingData(None, texts, targets, np.arange(rows), np.arange(rows, rows + 5), 0, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(("rows", "compared"), [(200, 40), (1000, 200), (20_000, 1000)])
def test_a_fifth_of_the_training_rows_is_compared_on(rows: int, compared: int) -> None:
    divided = for_comparison(many(rows))
    assert divided is not None
    assert len(divided.evaluate) == compared
    assert sorted([*divided.train, *divided.evaluate]) == list(range(rows))
    texts = [{divided.texts[row] for row in part} for part in (divided.train, divided.evaluate)]
    assert texts[0].isdisjoint(texts[1])


def test_few_rows_are_not_divided() -> None:
    assert for_comparison(many(199)) is None


def test_heads_that_could_not_learn_are_found(heads: dict[str, Any]) -> None:
    own = {"kind": heads["kind"], "pay": heads["pay"]}
    assert untrainable(data(), own) == []
    assert untrainable(replace(data(), train=np.array([2, 7])), own) == ["kind", "pay"]
