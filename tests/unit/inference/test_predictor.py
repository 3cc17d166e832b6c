"""``Predictor``: lists, streams and features in any precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import manyheads as mh
from manyheads.inference import blocks
from tests.laws.oracle import different_texts, rows_read

TEXTS = different_texts(24)


@pytest.fixture
def model(saved: Callable[[str], Path]) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"]))
    table = [{"text": text, "urgency": ["low", "high"][row % 2]} for row, text in enumerate(TEXTS)]
    mh.train(model, table, text="text", method=mh.Frozen(l2=0.1), eval_fraction=0)
    return model


def test_a_list_and_a_stream_get_the_answers_of_predict(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_STREAMED", 7)
    expected = model.predict(TEXTS)
    predictor = mh.Predictor(model)
    assert np.array_equal(predictor(TEXTS).logits["urgency"], expected.logits["urgency"])
    streamed = [row["urgency"].score for row in predictor.stream(iter(TEXTS))]
    np.testing.assert_allclose(streamed, [row["urgency"].score for row in expected], atol=1e-5)


def test_a_stream_reads_two_blocks_ahead_at_most(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_STREAMED", 2)
    read = []

    def texts() -> Iterator[str]:
        for text in TEXTS:
            read.append(text)
            yield text

    stream = mh.Predictor(model).stream(texts())
    next(stream)
    assert len(read) == 4


def test_a_bad_text_of_a_stream_is_named_by_its_row(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_STREAMED", 2)
    stream = mh.Predictor(model).stream(["a", "b", "c", 5])
    assert len([next(stream), next(stream)]) == 2
    with pytest.raises(mh.errors.TextError, match="row 4: a text must be a string, got 5"):
        next(stream)


@pytest.mark.parametrize("texts", ["one text", {"text": ["a"]}, 5])
def test_a_stream_takes_what_a_list_takes(model: mh.HeadedModel, texts: object) -> None:
    with pytest.raises(mh.errors.TextError, match="texts must be a list"):
        mh.Predictor(model).stream(texts)


def test_features_come_from_the_pass_of_the_heads(model: mh.HeadedModel) -> None:
    tap = mh.Hidden(layer=-2, pool="mean")
    with rows_read(model.backbone) as rows:
        predictions = mh.Predictor(model)(TEXTS, features=[tap])
    assert sum(rows) == len(TEXTS)
    inputs = model.tokenizer(TEXTS, return_tensors="pt", padding=True)
    with torch.no_grad():
        states = model.backbone(**inputs, output_hidden_states=True).hidden_states[-2]
    mask = inputs["attention_mask"].unsqueeze(2)
    expected = ((states * mask).sum(1) / mask.sum(1)).numpy()
    np.testing.assert_allclose(predictions.features[tap], expected, atol=1e-5)
    np.testing.assert_allclose(model.features(TEXTS, tap), expected, atol=1e-5)
    assert np.array_equal(predictions[3:5].features[tap], predictions.features[tap][3:5])
    assert model.features([], tap).shape == (0, expected.shape[1])


def test_features_by_token_have_one_vector_per_token(model: mh.HeadedModel) -> None:
    tap = mh.Hidden(pool="attention")
    found = model.features(TEXTS, [tap])[tap]
    assert [len(row) for row in found] == [len(ids) for ids in model.tokenizer(TEXTS).input_ids]


@pytest.mark.parametrize("tap", [mh.Lexical(), mh.Output("urgency"), "mean"])
def test_what_has_no_features_of_its_own_is_refused(model: mh.HeadedModel, tap: object) -> None:
    with pytest.raises(mh.errors.HeadError, match=r"mh\.Hidden"):
        model.features(TEXTS, [tap])


def test_another_precision_is_used_if_asked_for(model: mh.HeadedModel) -> None:
    exact, half = mh.Predictor(model, dtype="float32"), mh.Predictor(model, dtype=torch.bfloat16)
    assert np.array_equal(exact(TEXTS).logits["urgency"], model.predict(TEXTS).logits["urgency"])
    assert not np.array_equal(half(TEXTS).logits["urgency"], exact(TEXTS).logits["urgency"])


def test_a_kept_predictor_follows_changed_weights(model: mh.HeadedModel) -> None:
    predictor = mh.Predictor(model, dtype="bfloat16")
    before = predictor(TEXTS).logits["urgency"]
    assert np.array_equal(predictor(TEXTS).logits["urgency"], before)
    with torch.no_grad():
        for weight in model.backbone.parameters():
            weight.add_(0.01 * torch.randn_like(weight))
    fresh = mh.Predictor(model, dtype="bfloat16")(TEXTS).logits["urgency"]
    assert not np.array_equal(fresh, before)
    assert np.array_equal(predictor(TEXTS).logits["urgency"], fresh)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype must be 'auto' or one of"),
        ({"batch_tokens": 0}, "batch_tokens must be 'auto' or a positive whole number, got 0"),
        ({"long_text": "cut"}, "long_text must be one of"),
    ],
)
def test_a_wrong_setting_is_refused(model: mh.HeadedModel, options: dict[str, object], message: str) -> None:
    with pytest.raises(mh.errors.InputError, match=message):
        mh.Predictor(model, **options)
