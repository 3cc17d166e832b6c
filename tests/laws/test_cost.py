"""L23, L25: one forward serves every head and the LM, one pass trains them, and order is never disturbed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import manyheads as mh
from tests.families import BY_NAME, FAMILIES, TEXTS, WORDS, tokenizer_for
from tests.laws.oracle import different_texts, rows_read

LABELS = ["routine", "urgent", "emergency"]
FIVE_HEADS = {
    "urgency": lambda: mh.Multiclass(labels=LABELS),
    "topics": lambda: mh.MultiLabel(labels=["pain", "fever"], reads=mh.Hidden(pool="mean"), hidden=[8]),
    "hours": lambda: mh.Regression(reads=mh.Hidden(layer=-2, pool="max")),
    "ward": lambda: mh.Multiclass(labels=[0, 1], reads=mh.Hidden(layer="mix", pool="mean"), detach=True),
    "risk": lambda: mh.Regression(reads=[mh.Hidden(layer=1, pool="last"), mh.Hidden(pool="attention")]),
    "after": lambda: mh.Ordinal(labels=LABELS, reads=[mh.Hidden(), mh.Output("urgency"), mh.Output("risk")]),
}


def headed(family: str, heads: dict[str, object] = FIVE_HEADS) -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    for name, make in heads.items():
        model.add_head(name, make())
    return model


def batch_of(family: str) -> dict[str, Tensor]:
    """Return two rows of tokens; encoder-decoders get something for their decoder to read."""
    ids = tokenizer_for(BY_NAME[family])(TEXTS[0])["input_ids"]
    batch = {
        "input_ids": torch.tensor([ids, ids]),
        "attention_mask": torch.ones(2, len(ids), dtype=torch.long),
    }
    if BY_NAME[family].encoder_decoder:
        batch["decoder_input_ids"] = batch["input_ids"][:, :3]
    return batch


@contextmanager
def counted(backbone: nn.Module) -> Iterator[Counter[str]]:
    """Count, by name, the calls of every innermost module that has weights."""
    calls: Counter[str] = Counter()
    innermost = [(n, m) for n, m in backbone.named_modules() if not list(m.children()) and list(m.parameters())]
    handles = [m.register_forward_hook(lambda *_, name=name: calls.update([name])) for name, m in innermost]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


# --- L23: one forward -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", [family.name for family in FAMILIES])
def test_l23_the_lm_and_five_heads_cost_one_forward(family: str) -> None:
    model, batch = headed(family), batch_of(family)
    with torch.no_grad(), counted(model.backbone) as plain:
        model.backbone(**batch)
    with torch.no_grad(), counted(model.backbone) as calls:
        out = model(**batch, lm=True)
    assert len(out.logits) == len(FIVE_HEADS)
    assert out.lm_logits is not None
    assert calls == plain


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_l23_without_the_lm_its_head_is_not_run(family: str) -> None:
    model, batch = headed(family), batch_of(family)
    batch.pop("decoder_input_ids", None)
    with torch.no_grad(), counted(model.backbone) as calls:
        model(**batch)
    stack = model.backbone.get_encoder() if family == "t5" else model.backbone.base_model
    with torch.no_grad(), counted(model.backbone) as plain:
        stack(**batch)
    assert calls == plain


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_l23_no_hook_of_ours_outlives_the_call(family: str) -> None:
    model = headed(family)
    # transformers leaves hooks of its own after the first call that asks for all layers.
    model.backbone(**batch_of(family), output_hidden_states=True)
    before = {name: list(module._forward_hooks) for name, module in model.backbone.named_modules()}
    model(**batch_of(family), lm=True)
    assert {name: list(module._forward_hooks) for name, module in model.backbone.named_modules()} == before


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_l23_frozen_training_of_many_heads_and_layers_reads_each_row_once(family: str) -> None:
    model = headed(family)
    texts = different_texts(60)
    data = [
        {
            "text": text,
            "urgency": LABELS[row % 3],
            "topics": ["pain"] if row % 2 else ["fever"],
            "hours": row / 10,
            "ward": row % 2,
            "risk": None if row % 5 == 0 else float(row % 7),
            "after": LABELS[row // 2 % 3],
        }
        for row, text in enumerate(texts)
    ]
    with rows_read(model.backbone) as rows:
        result = mh.train(model, data, text="text", method=mh.Frozen())
    # With the names of the labels of "urgency", of which some may be texts too.
    assert sum(rows) == len({tuple(model.tokenizer(text)["input_ids"]) for text in [*texts, *LABELS]})
    assert set(result.metrics) == set(FIVE_HEADS)


def test_l23_held_out_rows_are_read_once_too() -> None:
    model = headed("bert", {"urgency": FIVE_HEADS["urgency"]})
    texts = different_texts(50)
    table = [{"text": text, "urgency": LABELS[row % 3]} for row, text in enumerate(texts)]
    with rows_read(model.backbone) as rows:
        mh.train(model, table[:40], text="text", method=mh.Frozen(), eval_data=table[40:])
    assert sum(rows) == 50 + len(LABELS)  # and the names of the labels


def test_l23_predicting_all_heads_reads_each_row_once() -> None:
    model = headed("gpt2")
    texts = different_texts(33)
    with pytest.warns(mh.errors.UntrainedHeadWarning), rows_read(model.backbone) as rows:
        model.predict(texts)
    assert sum(rows) == len(texts)


# --- L25: order -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["gpt2", "bert", "t5", "bart", "mamba", "gemma3"])
def predictor(request: pytest.FixtureRequest) -> mh.HeadedModel:
    """A model whose heads are far from zero, marked as trained so that nothing warns."""
    model = headed(request.param)
    for head in model.heads.values():
        head.trained = True
        with torch.no_grad():
            head.output.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(3))
    return model


def arrays(predictions: mh.Predictions) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(predictions.values[name] if name in ("hours", "risk") else predictions.scores[name])
        for name in FIVE_HEADS
    }


def test_l25_shuffled_texts_get_the_same_results_in_the_callers_order(predictor: mh.HeadedModel) -> None:
    texts = different_texts(40)
    shuffled = random.Random(1).sample(range(len(texts)), len(texts))
    straight = arrays(predictor.predict(texts))
    mixed = arrays(predictor.predict([texts[place] for place in shuffled]))
    hours = straight["hours"]
    assert len(np.unique(hours.round(4))) > 35, "the rows must differ, or no order would show"
    for name, expected in straight.items():
        np.testing.assert_allclose(mixed[name], expected[shuffled], atol=1e-5, rtol=1e-5)


def test_l25_each_text_alone_gets_what_it_gets_among_others(predictor: mh.HeadedModel) -> None:
    together = arrays(predictor.predict(TEXTS))
    for row, text in enumerate(TEXTS):
        for name, alone in arrays(predictor.predict([text])).items():
            np.testing.assert_allclose(alone[0], together[name][row], atol=1e-5, rtol=1e-5)


def test_l25_texts_of_one_length_keep_their_order(predictor: mh.HeadedModel) -> None:
    texts = [f"{first} {second}" for first in WORDS[:6] for second in WORDS[6:12]]
    together = arrays(predictor.predict(texts))
    for name, backwards in arrays(predictor.predict(texts[::-1])).items():
        np.testing.assert_allclose(backwards[::-1], together[name], atol=1e-5, rtol=1e-5)


def test_l25_the_same_text_twice_is_the_same_row_twice(predictor: mh.HeadedModel) -> None:
    texts = [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[2], TEXTS[1], TEXTS[0]]
    for values in arrays(predictor.predict(texts)).values():
        assert len(values) == 6
        np.testing.assert_allclose(values[[2, 5]], values[[0, 0]], atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(values[4], values[1], atol=1e-5, rtol=1e-5)


def test_l25_predictions_are_a_sequence_in_step_with_their_arrays(predictor: mh.HeadedModel) -> None:
    predictions = predictor.predict(TEXTS)
    assert len(predictions) == len(list(predictions)) == len(TEXTS)
    for row, prediction in enumerate(predictions):
        assert list(prediction) == list(FIVE_HEADS)
        scores = predictions.scores["urgency"][row]
        assert prediction["urgency"].label == LABELS[int(scores.argmax())]
        assert prediction["urgency"].score == pytest.approx(scores.max())
        assert prediction["hours"].value == pytest.approx(float(predictions.values["hours"][row]))
    assert predictions[-1]["urgency"] == predictions[len(TEXTS) - 1]["urgency"]
    with pytest.raises(IndexError):
        predictions[len(TEXTS)]


def test_l25_no_rows_are_no_rows(predictor: mh.HeadedModel) -> None:
    predictions = predictor.predict([])
    assert len(predictions) == 0
    assert list(predictions) == []
    assert predictions.scores["urgency"].shape == (0, 3)
    assert len(predictions.values["hours"]) == 0
    assert predictions.to_arrow().num_rows == 0


def test_l25_the_same_call_gives_the_same_bits(predictor: mh.HeadedModel) -> None:
    texts = different_texts(25)
    first, second = arrays(predictor.predict(texts)), arrays(predictor.predict(texts))
    for name, values in first.items():
        assert np.array_equal(values, second[name])
