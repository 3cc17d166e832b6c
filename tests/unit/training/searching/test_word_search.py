"""Token heads search layers: by ridge regression on folds of texts, equal to scikit-learn's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

import manyheads as mh
from manyheads.taps import Words
from manyheads.taps.words import with_neighbors
from manyheads.training.searching.screening import PENALTY, FoldScreening, scaled
from manyheads.types import Features
from tests.families import WORDS


def test_errors_are_those_of_scikit_learns_ridge_on_folds_of_texts() -> None:
    draw = np.random.default_rng(0)
    words_of = draw.integers(1, 9, size=40)
    text_of = np.repeat(np.arange(40), words_of)
    features = {layer: draw.normal(size=(len(text_of), 6)).astype(np.float32) for layer in (-1, -2)}
    truth = (features[-1] @ draw.normal(size=(6, 3)) + draw.normal(size=(len(text_of), 3))).astype(np.float32)
    screening = FoldScreening(lambda tap: torch.from_numpy(features[tap.layer]), [truth], text_of)  # type: ignore[attr-defined]
    found = screening.of_head(0).screen([Words(-1), Words(-2)])

    joined = np.concatenate([features[-1], features[-2]], axis=1) / np.sqrt(6)
    targets = scaled(truth) - scaled(truth).mean(axis=0)
    squares = np.empty(len(text_of))
    for fold in range(5):
        out = text_of % 5 == fold
        ridge = Ridge(alpha=PENALTY * len(text_of), fit_intercept=False).fit(joined[~out], targets[~out])
        squares[out] = ((targets[out] - ridge.predict(joined[out])) ** 2).sum(axis=1)
    expected = np.bincount(text_of, weights=squares) * 40 / len(text_of)
    np.testing.assert_allclose(found.errors, expected, rtol=1e-3)
    assert found.loss == pytest.approx(squares.mean(), rel=1e-3)


def table(count: int) -> list[dict[str, object]]:
    """Return texts whose words decide their tags."""
    draw = np.random.default_rng(1)
    rows: list[dict[str, object]] = []
    for _ in range(count):
        words = draw.choice(WORDS[:60], size=12).tolist()
        rows.append({"words": " ".join(words), "tags": ["xy"[WORDS.index(word) % 2] for word in words]})
    return rows


def fitted(saved: Callable[[str], Path], rows: int, spec: mh.Tokens) -> tuple[mh.HeadedModel, mh.TrainResult]:
    """Train on a backbone whose last layer is the same for every word."""
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    with torch.no_grad():
        model.core.backbone.stack.encoder.layer[-1].output.LayerNorm.weight.zero_()
    model.add_head("tags", spec)
    return model, mh.train(model, table(rows), text="words", method=mh.Frozen(cache=None), eval_fraction=0)


def test_a_layer_that_tells_nothing_is_not_read(saved: Callable[[str], Path]) -> None:
    model, result = fitted(saved, 60, mh.Tokens(["x", "y"], scheme="plain", words="spaces"))
    losses = {one.reads: one.loss for one in result.search["tags"] if len(one.reads) == 1}
    assert losses[Words(-1),] > 0.9
    assert Words(-1) not in model.heads["tags"].taps


def test_layers_that_are_named_and_few_texts_are_not_searched(saved: Callable[[str], Path]) -> None:
    named, _ = fitted(saved, 60, mh.Tokens(["x", "y"], scheme="plain", words="spaces", reads=mh.Hidden(-2)))
    assert named.heads["tags"].taps == (Words(-2),)
    few, result = fitted(saved, 39, mh.Tokens(["x", "y"], scheme="plain", words="spaces", subword="mean"))
    assert few.heads["tags"].taps == (Words(-1, "mean"),)
    assert not [one for one in result.search["tags"] if one.by != "held out"]


def test_neighbors_that_decide_are_read(saved: Callable[[str], Path]) -> None:
    """A word's tag is that of the word before it, which a backbone without attention cannot tell."""
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    with torch.no_grad():
        for layer in model.core.backbone.stack.encoder.layer:
            layer.attention.output.dense.weight.zero_()
    rows = [{"words": row["words"], "tags": ["x", *row["tags"][:-1]]} for row in table(200)]  # type: ignore[index]
    for name, window in (("searched", None), ("alone", 0), ("wide", 1)):
        spec = mh.Tokens(["x", "y"], scheme="plain", words="spaces", column="tags", window=window)
        model.add_head(name, spec)
    result = mh.train(model, rows, text="words", eval_fraction=0.2)
    assert {tap.window for tap in model.heads["searched"].taps} == {1}  # type: ignore[attr-defined]
    assert {tap.window for tap in model.heads["alone"].taps} == {0}  # type: ignore[attr-defined]
    # The tags are no linear function of the words: no head gets all of them right.
    accuracy = {name: metrics["accuracy"] for name, metrics in result.metrics.items()}
    assert min(accuracy["searched"], accuracy["wide"]) > accuracy["alone"] + 0.1
    # What is computed from stored vectors is what a forward reads.
    text = str(rows[0]["words"])
    predicted = model.predict([text])
    encoded = model.tokenizer(text.split(), is_split_into_words=True)
    word_ids = torch.tensor([[-1 if place is None else place for place in encoded.word_ids()]])
    with torch.no_grad():
        live = model(torch.tensor([encoded["input_ids"]]), word_ids=word_ids).logits["wide"][0]
    np.testing.assert_allclose(predicted.logits["wide"][0], live.numpy(), atol=1e-4)


def test_words_without_a_token_are_no_neighbors() -> None:
    values = torch.arange(1.0, 9.0).reshape(1, 4, 2)
    holes, compact = torch.tensor([[True, False, True, True]]), torch.tensor([[0, 2, 3]])
    wide = with_neighbors(Features(values.masked_fill(~holes.unsqueeze(-1), 0.0), holes), 2).values
    expected = with_neighbors(Features(values[0][compact], torch.ones(1, 3, dtype=torch.bool)), 2).values
    assert torch.equal(wide[0][compact[0]], expected[0])
    assert expected[0, 1].tolist() == [5, 6, 1, 2, 7, 8, 0, 0, 0, 0]


@pytest.mark.parametrize("window", [-1, 5, 1.0, True, "1"])
def test_bad_windows(window: object) -> None:
    with pytest.raises(mh.errors.HeadError, match="Tokens: window must be a whole number of words from 0 to 4"):
        mh.Tokens(["a"], window=window)  # type: ignore[arg-type]
