"""L1 to L4: with heads attached, trained, saved and loaded, the language model is what it was, to the bit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

import manyheads as mh
from tests.families import (
    BY_NAME,
    ENCODER_DECODERS,
    ENCODERS,
    FAMILIES,
    GENERATING,
    TEXTS,
    Family,
    tokenizer_for,
)
from tests.laws.oracle import (
    HEADS,
    RECORDS,
    SIDES,
    add_heads,
    changed,
    decoder_inputs,
    headed,
    over,
    padded,
    plain_logits,
    plain_model,
    rows_of,
    snapshot,
)

Saved = Callable[[str], Path]
Models = Callable[[Family], mh.HeadedModel]


@pytest.fixture(scope="module")
def attached(saved: Saved) -> Models:
    """Return the family with five heads of every kind; tests must not change it."""
    return functools.cache(lambda family: headed(saved(family.name)))


@pytest.fixture(scope="module")
def trained(saved: Saved) -> Models:
    """Return the family with five heads after Frozen training; tests must not change it."""

    @functools.cache
    def model_of(family: Family) -> mh.HeadedModel:
        model = headed(saved(family.name))
        mh.train(model, RECORDS, text="text", method=mh.Frozen(), eval_fraction=0.1, seed=0)
        return model

    return model_of


def batch_of(family: Family, side: str = "right") -> dict[str, Tensor]:
    return padded(rows_of(family)[:6], side, family.special_id("pad") or 0)


def assert_same_logits(family: Family, backbone: PreTrainedModel, folder: Path) -> None:
    inputs = batch_of(family)
    expected = plain_logits(family, plain_model(family, folder), inputs)
    assert torch.equal(plain_logits(family, backbone, inputs), expected)


# --- L1: logits ---


@over("L1", FAMILIES)
def test_logits_with_no_head_two_heads_and_five(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = headed(folder, {})
    names = list(HEADS)
    for more in ([], names[:2], names[2:]):
        add_heads(model, {name: HEADS[name] for name in more})
        assert_same_logits(family, model.backbone, folder)
        assert model.lm is model.backbone
        if len(model.heads):
            model(**batch_of(family))  # a pass of the heads leaves nothing after
            assert_same_logits(family, model.backbone, folder)
    assert list(model.heads) == names
    assert type(model.backbone).__name__ == family.lm_class


@over("L1", FAMILIES)
def test_logits_after_frozen_training(family: Family, saved: Saved, trained: Models) -> None:
    assert_same_logits(family, trained(family).backbone, saved(family.name))


@over("L1", FAMILIES)
def test_logits_after_saving_and_loading(family: Family, saved: Saved, trained: Models, tmp_path: Path) -> None:
    trained(family).save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    assert list(again.heads) == list(HEADS)
    assert_same_logits(family, again.backbone, saved(family.name))
    assert_same_logits(family, family.auto_class.from_pretrained(tmp_path / "model").eval(), saved(family.name))


@pytest.mark.parametrize("side", SIDES)
@over("L1", FAMILIES)
def test_lm_logits_of_a_forward_equal_each_row_alone(family: Family, side: str, saved: Saved, attached: Models) -> None:
    folder = saved(family.name)
    rows = rows_of(family)[:6]
    batch = batch_of(family, side)
    with torch.no_grad():
        output = attached(family)(**batch, **decoder_inputs(family, len(rows)), lm=True)
    assert set(output.logits) == set(HEADS)
    for index, row in enumerate(rows):
        alone = plain_logits(family, plain_model(family, folder), {"input_ids": row[None]})[0]
        found = output.lm_logits[index]
        if not family.encoder_decoder:  # there the logits are the decoder's, which has no padding here
            assert found.shape[0] == batch["input_ids"].shape[1]
            found = found[batch["attention_mask"][index].bool()]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", SIDES)
@over("L1", FAMILIES)
def test_the_heads_see_the_same_with_and_without_the_lm(family: Family, side: str, attached: Models) -> None:
    model = attached(family)
    batch = batch_of(family, side)
    with torch.no_grad():
        without = model(**batch)
        beside = model(**batch, **decoder_inputs(family, 6), lm=True)
    assert without.lm_logits is None
    for name in HEADS:
        torch.testing.assert_close(beside.logits[name], without.logits[name], rtol=0, atol=1e-5)


@over("L1", ENCODER_DECODERS)
def test_lm_logits_without_decoder_inputs_are_an_error(family: Family, attached: Models) -> None:
    with pytest.raises(mh.errors.InputError, match="decoder_input_ids"):
        attached(family)(**batch_of(family), lm=True)


@over("L1", [family for family in FAMILIES if not family.encoder_decoder])
def test_lm_logits_of_a_backbone_without_an_lm_are_an_error(family: Family) -> None:
    model = mh.HeadedModel.wrap(family.build().base_model, tokenizer_for(family))
    add_heads(model, {"urgency": HEADS["urgency"]})
    assert model.lm is None
    assert model(**batch_of(family)).logits["urgency"].shape == (6, 3)
    with pytest.raises(mh.errors.NoLanguageModelError):
        model(**batch_of(family), lm=True)


# --- L2: generation ---

GENERATION: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "beams": {"do_sample": False, "num_beams": 3},
    "sampling": {"do_sample": True, "temperature": 0.1},
    "repetition": {"do_sample": False, "repetition_penalty": 1.8},
    "batch": {"do_sample": False},
    "unmasked": {"do_sample": False},
}
STEPS = 8
CANNOT_GENERATE = {family.name: "a masked LM predicts the token in place" for family in ENCODERS}


def prompts(family: Family, mode: str) -> dict[str, Tensor]:
    if mode == "batch":
        return padded(rows_of(family)[:4], "left", family.special_id("pad") or 0)
    row = rows_of(family)[0][None]
    return {"input_ids": row} if mode == "unmasked" else {"input_ids": row, "attention_mask": torch.ones_like(row)}


def generated(
    lm: PreTrainedModel, generate: Any, inputs: dict[str, Tensor], **settings: Any
) -> tuple[Tensor, Tensor, list[int]]:
    """Return the tokens, the logits of each step, and the number of tokens that the LM was given at each."""
    lengths: list[int] = []

    def record(_module: object, _arguments: object, given: dict[str, Any]) -> None:
        ids = given.get("decoder_input_ids")
        lengths.append((given["input_ids"] if ids is None else ids).shape[1])

    handle = lm.register_forward_pre_hook(record, with_kwargs=True)
    steps = {"max_new_tokens": STEPS, "min_new_tokens": STEPS, "pad_token_id": 0}
    torch.manual_seed(0)
    output = generate(**inputs, **steps, **settings, return_dict_in_generate=True, output_logits=True)
    handle.remove()
    return output.sequences, torch.stack(output.logits), lengths


def assert_same_generation(found: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert found[2] == expected[2]


@pytest.mark.parametrize("mode", GENERATION)
@over("L2", GENERATING)
def test_the_same_tokens_are_generated(family: Family, mode: str, saved: Saved, attached: Models) -> None:
    plain, model = plain_model(family, saved(family.name)), attached(family)
    inputs = prompts(family, mode)
    expected = generated(plain, plain.generate, inputs, **GENERATION[mode])
    assert_same_generation(generated(model.backbone, model.generate, inputs, **GENERATION[mode]), expected)
    assert expected[2][1:] == [1] * (STEPS - 1)  # the cache works: after the prompt, one token per step


@over("L2", GENERATING)
def test_generation_after_a_pass_of_the_heads(family: Family, saved: Saved, trained: Models) -> None:
    model, plain = trained(family), plain_model(family, saved(family.name))
    model(**batch_of(family))
    inputs = prompts(family, "batch")
    expected = generated(plain, plain.generate, inputs, do_sample=False)
    assert_same_generation(generated(model.backbone, model.generate, inputs, do_sample=False), expected)
    assert_same_generation(generated(model.backbone, model.backbone.generate, inputs, do_sample=False), expected)


@over("L2", [BY_NAME[name] for name in CANNOT_GENERATE])
def test_a_masked_lm_rejects_to_generate(family: Family, attached: Models) -> None:
    with pytest.raises(mh.errors.BackboneError, match="generate"):
        attached(family).generate(rows_of(family)[0][None], max_new_tokens=2)


# --- L3: files ---


WEIGHTS = "model.safetensors"
CONFIGS = ("config.json", "generation_config.json")


def read_if_there(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@over("L3", FAMILIES)
def test_configs_are_saved_byte_by_byte(family: Family, saved: Saved, trained: Models, tmp_path: Path) -> None:
    source = saved(family.name)
    trained(family).save_pretrained(tmp_path / "model")
    names = {path.name for path in source.iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= names
    assert ("generation_config.json" in names) == family.generates
    for name in names - {WEIGHTS}:
        assert (tmp_path / "model" / name).read_bytes() == (source / name).read_bytes(), name


@over("L3", FAMILIES)
def test_tensors_are_saved_once_and_as_they_were(family: Family, saved: Saved, trained: Models, tmp_path: Path) -> None:
    source = saved(family.name)
    trained(family).save_pretrained(tmp_path / "model")
    old, new = load_file(source / WEIGHTS), load_file(tmp_path / "model" / WEIGHTS)
    assert set(old) == set(new)
    assert all(torch.equal(old[name], new[name]) for name in old)


@over("L3", FAMILIES)
def test_tied_weights_stay_tied(family: Family, saved: Saved, trained: Models, tmp_path: Path) -> None:
    trained(family).save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    tied = {
        name: shared(model)
        for name, model in {
            "plain": plain_model(family, saved(family.name)),
            "reloaded": family.auto_class.from_pretrained(tmp_path / "model"),
            "headed": again.backbone,
        }.items()
    }
    assert tied["plain"] == tied["reloaded"] == tied["headed"] == TIED.get(family.name, True)


# Whether the LM head's matrix is the word embeddings'.
TIED = {"gptj": False, "gpt_neox": False, "llama": False, "mistral": False, "qwen3": False}


def shared(model: PreTrainedModel) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


@over("L3", FAMILIES)
def test_the_tokenizer_is_saved(family: Family, saved: Saved, trained: Models, tmp_path: Path) -> None:
    trained(family).save_pretrained(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    assert dict(tokenizer(TEXTS)) == dict(tokenizer_for(family)(TEXTS))


@over("L3", FAMILIES)
def test_changed_weights_are_saved_and_no_config_with_them(family: Family, saved: Saved, tmp_path: Path) -> None:
    source = saved(family.name)
    model = headed(source)
    with torch.no_grad():
        next(model.backbone.parameters()).mul_(1.5)
    model.save_pretrained(tmp_path / "model")
    again = family.auto_class.from_pretrained(tmp_path / "model").eval()
    inputs = batch_of(family)
    found = plain_logits(family, again, inputs)
    assert torch.equal(found, plain_logits(family, model.backbone, inputs))
    assert not torch.equal(found, plain_logits(family, plain_model(family, source), inputs))
    assert set(load_file(tmp_path / "model" / WEIGHTS)) == set(load_file(source / WEIGHTS))
    for name in CONFIGS:
        assert read_if_there(tmp_path / "model" / name) == read_if_there(source / name)


@over("L3", FAMILIES)
def test_the_dtype_at_loading_is_not_the_dtype_on_disk(family: Family, saved: Saved, tmp_path: Path) -> None:
    source = saved(family.name)
    mh.HeadedModel.from_pretrained(source, dtype=torch.bfloat16).save_pretrained(tmp_path / "model")
    for name in (*CONFIGS, WEIGHTS):
        assert read_if_there(tmp_path / "model" / name) == read_if_there(source / name)


@over("L3", FAMILIES)
def test_a_wrapped_model_is_saved_as_a_plain_checkpoint(family: Family, tmp_path: Path) -> None:
    """It has no files to copy: what is written must still load as it was."""
    plain = family.build()
    plain.save_pretrained(tmp_path / "plain")
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    add_heads(model, HEADS)
    model.save_pretrained(tmp_path / "model")
    again = family.auto_class.from_pretrained(tmp_path / "model").eval()
    inputs = batch_of(family)
    assert torch.equal(plain_logits(family, again, inputs), plain_logits(family, plain, inputs))
    assert set(load_file(tmp_path / "model" / WEIGHTS)) == set(load_file(tmp_path / "plain" / WEIGHTS))
    for name in CONFIGS:
        assert read_if_there(tmp_path / "model" / name) == read_if_there(tmp_path / "plain" / name)


# --- L4: frozen means frozen ---

LABELS = {
    "urgency": torch.tensor([0, 1, 2, 0, 1, 2]),
    "symptoms": torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0]]),
    "age": torch.tensor([60.0, 5, 40, 33, 71, 8]) / 80,
    "where": torch.tensor([0, 1, 0, 1, 0, 1]),
    "sent": torch.tensor([1, 0, 0, 1, 1, 0]),
    "level": torch.tensor([0, 2, 1, 2, 0, 1]),
    "again": torch.tensor([0, 0, 1, 1, 0, 1]),
}
# Their published configs have no dropout, and neither have these.
NO_DROPOUT = frozenset(
    {
        "gpt_neox",
        "bloom",
        "gptj",
        "llama",
        "mistral",
        "qwen2",
        "qwen3",
        "gemma3",
        "mamba",
        "modernbert",
        "albert",
    }
)


@over("L4", FAMILIES)
def test_no_backbone_tensor_moves_in_frozen_training(family: Family, saved: Saved, trained: Models) -> None:
    assert changed(trained(family).backbone, snapshot(plain_model(family, saved(family.name)))) == []
    assert all(p.requires_grad and p.grad is None for p in trained(family).backbone.parameters())
    assert all(head.trained for head in trained(family).heads.values())


@over("L4", FAMILIES)
def test_no_backbone_tensor_moves_under_adamw_with_weight_decay(family: Family, saved: Saved) -> None:
    model = headed(saved(family.name))
    model.backbone.requires_grad_(False)
    backbone, heads = snapshot(model.backbone), snapshot(model.heads)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01, weight_decay=0.1)
    model.train()
    for _ in range(10):
        batch = batch_of(family)
        found = batch["input_ids"] % 5  # a tag per token; those of padding count for nothing
        model(**batch, labels={**LABELS, "found": found}).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert changed(model.backbone, backbone) == []
    assert changed(model.heads, heads) == sorted(heads)


@over("L4", FAMILIES)
def test_features_are_those_of_eval_mode(family: Family, saved: Saved, trained: Models) -> None:
    model = headed(saved(family.name))
    model.train()
    mh.train(model, RECORDS, text="text", method=mh.Frozen(), eval_fraction=0.1, seed=0)
    assert changed(model.heads, snapshot(trained(family).heads)) == []


@over("L4", FAMILIES)
def test_dropout_in_the_backbone_would_show(family: Family, saved: Saved) -> None:
    """What the law above guards against exists in these backbones, but for the ones in the table."""
    model = family.auto_class.from_pretrained(saved(family.name)).train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = (plain_logits(family, model, batch_of(family)) for _ in range(2))
    assert torch.equal(first, second) == (family.name in NO_DROPOUT)
