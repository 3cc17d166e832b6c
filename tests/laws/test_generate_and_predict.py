"""L2, L6, L23: ``generate_and_predict`` gives the tokens of ``generate``, the answers of ``predict``, in one pass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import manyheads as mh
from tests.families import BY_NAME, GENERATING, TEXTS, Family
from tests.laws.oracle import HEADS, headed, over, rows_of, stack

Saved = Callable[[str], Path]
Models = Callable[[Family], mh.HeadedModel]

STEPS = {"max_new_tokens": 6, "min_new_tokens": 6}
MODES: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "beams": {"do_sample": False, "num_beams": 3, "num_return_sequences": 2},
    "sampling": {"do_sample": True, "temperature": 2.0, "num_return_sequences": 2},
    "penalty": {"do_sample": False, "repetition_penalty": 1.8, "no_repeat_ngram_size": 2},
}
# How a prefill runs, on one family for each way in which it does.
WAYS: dict[str, dict[str, Any]] = {
    "no cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static"},
    "chunks": {"prefill_chunk_size": 3},
    "lookup": {"prompt_lookup_num_tokens": 2},
    "guidance": {"guidance_scale": 1.5},
}
# One prompt alone, since assisted generation takes one.
ALONE = {"lookup"}


@pytest.fixture(scope="module")
def attached(saved: Saved) -> Models:
    """Return the family with heads of every kind; tests must not change it."""

    @functools.cache
    def model_of(family: Family) -> mh.HeadedModel:
        model = headed(saved(family.name))
        for head in model.heads.values():
            head.trained = True
        model.generate_and_predict(TEXTS[:2], max_new_tokens=1)  # observes the backbone, once
        return model

    return model_of


def batch_of(family: Family, count: int) -> dict[str, Tensor]:
    """Return prompts as a user would pad them for ``generate``."""
    rows = rows_of(family)[:count]
    filler = next(found for role in ("pad", "eos") if (found := family.special_id(role)) is not None)
    longest = max(map(len, rows))
    ids = torch.full((count, longest), filler)
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if family.encoder_decoder else slice(longest - len(row), longest)
        ids[number, place], mask[number, place] = row, 1
    return {"input_ids": ids, "attention_mask": mask}


@contextmanager
def recorded_calls(backbone: Any) -> Iterator[list[tuple[str, int, int]]]:
    """Record the rows and tokens of every call of the stack that heads read, and of the whole model."""
    calls: list[tuple[str, int, int]] = []

    def record(name: str, _: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        ids = given.get("input_ids", given.get("decoder_input_ids"))
        calls.append((name, *(args[0] if args else ids).shape))

    parts = {"model": backbone, "stack": stack(backbone)}
    handles = [
        part.register_forward_pre_hook(functools.partial(record, name), with_kwargs=True)
        for name, part in parts.items()
        if name == "model" or part is not backbone
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def assert_same_predictions(found: mh.Predictions, expected: mh.Predictions) -> None:
    assert found.heads == expected.heads
    for name in expected.heads:
        for one, other in zip(found.logits[name], expected.logits[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-5)
    for attribute in ("empty", "truncated"):
        assert np.array_equal(getattr(found, attribute), getattr(expected, attribute))


@pytest.mark.parametrize("mode", MODES)
@over("L2", GENERATING)
def test_same_tokens_same_predictions_one_pass(family: Family, mode: str, attached: Models) -> None:
    assert_same_in_one_pass(family, attached(family), TEXTS[:7], MODES[mode])


@pytest.mark.parametrize("way", WAYS)
@over("L23", [BY_NAME[name] for name in ("gpt2", "llama", "gemma3", "mamba", "t5")])
def test_every_way_to_run_the_prompts_is_one_pass(family: Family, way: str, attached: Models) -> None:
    model, prompts = attached(family), TEXTS[:1] if way in ALONE else TEXTS[:7]
    settings = {"do_sample": False, **WAYS[way]}
    try:
        model.generate(**batch_of(family, len(prompts)), **STEPS, **settings, pad_token_id=0)
    except (ValueError, TypeError) as error:  # what plain generate cannot do, this cannot do either
        with pytest.raises(type(error)):
            model.generate_and_predict(prompts, **STEPS, **settings, pad_token_id=0)
    else:
        assert_same_in_one_pass(family, model, prompts, settings)


def assert_same_in_one_pass(family: Family, model: mh.HeadedModel, prompts: list[str], options: dict[str, Any]) -> None:
    batch, settings = batch_of(family, len(prompts)), {**STEPS, **options, "pad_token_id": 0}
    torch.manual_seed(3)
    with recorded_calls(model.backbone) as expected_calls:
        sequences = model.generate(**batch, **settings)
    torch.manual_seed(3)
    with recorded_calls(model.backbone) as calls:
        texts, predictions = model.generate_and_predict(prompts, **settings)
    assert calls == expected_calls  # the prompts ran once, and every later token was read from the cache
    start = 0 if family.encoder_decoder else batch["input_ids"].shape[1]
    expected = model.tokenizer.batch_decode(sequences[:, start:], skip_special_tokens=True)
    found = [text for row in texts for text in (row if isinstance(row, list) else [row])]
    assert [text.strip() for text in found] == [text.strip() for text in expected]
    assert len(texts) == len(predictions) == len(prompts)
    assert_same_predictions(predictions, model.predict(prompts))


@over("L2", GENERATING)
def test_no_hook_outlives_the_call(family: Family, attached: Models) -> None:
    model = attached(family)
    before = {name: [*part._forward_hooks, *part._forward_pre_hooks] for name, part in model.backbone.named_modules()}
    model.generate_and_predict(TEXTS[:2], max_new_tokens=2)
    after = {name: [*part._forward_hooks, *part._forward_pre_hooks] for name, part in model.backbone.named_modules()}
    assert after == before


@over("L2", GENERATING)
def test_the_options_come_from_a_generation_config_too(family: Family, attached: Models) -> None:
    model = attached(family)
    config = type(model.backbone.generation_config)(num_beams=2, num_return_sequences=2, max_new_tokens=4)
    texts, predictions = model.generate_and_predict(TEXTS[:3], generation_config=config)
    assert [len(row) for row in texts] == [2, 2, 2]
    assert_same_predictions(predictions, model.predict(TEXTS[:3]))
    assert list(HEADS) == list(predictions.heads)
