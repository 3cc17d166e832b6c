"""L2, L23, L30: a streamed generation has the tokens of ``generate`` and the answers of ``predict``, and other threads
that predict between two tokens change neither."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import manyheads as mh
from manyheads.backbone.generating import changes_while_generating
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.inference.scorer import Scorer
from manyheads.inference.streamed_generation import StreamedGeneration
from tests.families import BY_NAME, GENERATING, TEXTS, Family, tokenizer_for
from tests.laws.oracle import headed, over
from tests.laws.test_generate_and_predict import assert_same_predictions, recorded_calls

Saved = Callable[[str], Path]
Models = Callable[[Family], mh.HeadedModel]

STEPS = {"max_new_tokens": 6, "pad_token_id": 0}
MODES: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "temperature": 2.0, "num_return_sequences": 2},
    "beams": {"do_sample": False, "num_beams": 3, "num_return_sequences": 2},
    "penalty": {"do_sample": False, "repetition_penalty": 1.8},
}
FEW = [BY_NAME[name] for name in ("gpt2", "qwen2", "t5")]


@pytest.fixture(scope="module")
def attached(saved: Saved) -> Models:
    """Return the family with heads of every kind; tests must not change it."""

    @functools.cache
    def model_of(family: Family) -> mh.HeadedModel:
        model = headed(saved(family.name))
        for head in model.heads.values():
            head.trained = True
        assert model.core.backbone.can_interleave  # of all these families
        model.generate_and_predict(TEXTS[:2], max_new_tokens=1)  # observes the backbone, once
        return model

    return model_of


def joined(pieces: list[mh.TextPiece], prompts: int, sequences: int) -> list[Any]:
    """Return the texts of all pieces, in the form of ``generate_and_predict``."""
    texts = [["" for _ in range(sequences)] for _ in range(prompts)]
    for piece in pieces:
        assert piece.text
        texts[piece.prompt][piece.sequence] += piece.text
    return texts if sequences > 1 else [text for (text,) in texts]


def assert_streamed_as_generated(model: mh.HeadedModel, options: dict[str, Any]) -> None:
    prompts = TEXTS[:5]
    torch.manual_seed(5)
    with recorded_calls(model.backbone) as expected_calls:
        texts, expected = model.generate_and_predict(prompts, **STEPS, **options)
    torch.manual_seed(5)
    with recorded_calls(model.backbone) as calls:
        predictions, *pieces, end = model.stream_generation(prompts, **STEPS, **options)
    assert calls == expected_calls  # the prompts ran once
    assert_same_predictions(predictions, expected)
    sequences = options.get("num_return_sequences", 1)
    assert joined(pieces, len(prompts), sequences) == texts
    assert end.input_tokens == tuple(len(model.tokenizer(prompt)["input_ids"]) for prompt in prompts)
    assert len(end.reasons) == len(end.output_tokens) == len(prompts) * sequences
    assert max(end.output_tokens) <= STEPS["max_new_tokens"]


@over("L2", GENERATING)
def test_the_events_are_those_of_generate_and_predict(family: Family, attached: Models) -> None:
    assert_streamed_as_generated(attached(family), MODES["sampling"])


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "sampling"])
@over("L2", FEW)
def test_in_every_mode(family: Family, mode: str, attached: Models) -> None:
    assert_streamed_as_generated(attached(family), MODES[mode])


@over("L30", GENERATING)
def test_predictions_between_two_tokens_change_nothing(family: Family, attached: Models) -> None:
    model, prompts, others = attached(family), TEXTS[:4], TEXTS[4:9]
    texts, expected = model.generate_and_predict(prompts, **STEPS, do_sample=False)
    expected_others = model.predict(others)
    events: list[Any] = []
    between: list[mh.Predictions] = []
    with ThreadPoolExecutor(1) as other_thread:

        def predict_meanwhile() -> bool:
            between.append(other_thread.submit(model.predict, others).result())
            return True

        generation = StreamedGeneration(
            model.core, model.tokenizer, Scorer(model.core, model.tokenizer), read_texts_from_list(prompts), None,
            {**STEPS, "do_sample": False},
        )  # fmt: skip
        generation.run(events.append, predict_meanwhile)
    predictions, *pieces, _ = events
    assert joined(pieces, len(prompts), 1) == texts
    assert_same_predictions(predictions, expected)
    assert len(between) > 1
    for found in between:
        assert_same_predictions(found, expected_others)
        assert all(np.array_equal(found.logits[name], expected_others.logits[name]) for name in ("urgency", "age"))


def test_models_that_keep_state_while_they_generate_are_found() -> None:
    config = {
        "vocab_size": 96,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    recurrent = transformers.RecurrentGemmaForCausalLM(
        transformers.RecurrentGemmaConfig(**config, num_key_value_heads=1, lru_width=32, attention_window_size=8)
    ).eval()
    assert changes_while_generating(recurrent)
    assert not changes_while_generating(BY_NAME["gpt2"].build())
    rotary = BY_NAME["llama"].build(rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0})
    model = mh.HeadedModel.wrap(rotary, tokenizer_for(BY_NAME["llama"]))
    model.add_head("urgency", mh.Multiclass(labels=["no", "yes"], reads=mh.Hidden())).trained = True
    assert not model.core.backbone.can_interleave
    texts, expected = model.generate_and_predict(TEXTS[:3], **STEPS, do_sample=False)
    predictions, *pieces, _ = model.stream_generation(TEXTS[:3], **STEPS, do_sample=False)
    assert joined(pieces, 3, 1) == texts
    assert_same_predictions(predictions, expected)
