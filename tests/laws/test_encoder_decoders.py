"""L1, L2, L3 and L9 for encoder-decoders: heads learn on the encoder, and ``generate`` is plain transformers' own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import manyheads as mh
from tests.families import ENCODER_DECODERS, TEXTS, Family, tokenizer_for
from tests.laws.oracle import (
    HAND_POOLS,
    HEADS,
    RECORDS,
    SIDES,
    changed,
    decoder_inputs,
    headed,
    over,
    padded,
    plain_logits,
    plain_model,
    plain_states,
    rows_of,
    snapshot,
)
from tests.laws.test_lm_untouched import LABELS, assert_same_generation, generated, prompts

Saved = Callable[[str], Path]
Trained = Callable[[Family, str], mh.HeadedModel]

METHODS: dict[str, Any] = {
    "frozen": mh.Frozen(),
    "fork": mh.Fork(top=1, epochs=1),
    "lora": mh.LoRA(r=2, epochs=1),
}
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "beams": {"do_sample": False, "num_beams": 3},
    "sampling": {"do_sample": True, "temperature": 0.1},
}
methods = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(scope="module")
def trained(saved: Saved) -> Trained:
    """Return a family with five heads, one of them pooling by attention, after training; tests must not change it."""

    @functools.cache
    def model_of(family: Family, method: str) -> mh.HeadedModel:
        model = headed(saved(family.name))
        mh.train(model, RECORDS, text="text", method=METHODS[method])
        return model

    return model_of


@methods
@over("L2", ENCODER_DECODERS)
def test_generation_beside_trained_heads(family: Family, method: str, saved: Saved, trained: Trained) -> None:
    plain, model = plain_model(family, saved(family.name)), trained(family, method)
    assert all(head.trained for head in model.heads.values())
    model.predict(TEXTS[:3])
    for way, settings in WAYS.items():
        for mode in ("batch", way):
            inputs = prompts(family, mode)
            expected = generated(plain, plain.generate, inputs, **settings)
            assert_same_generation(generated(model.backbone, model.generate, inputs, **settings), expected)


@methods
@over("L3", ENCODER_DECODERS)
def test_generation_and_heads_after_saving_and_loading(
    family: Family, method: str, saved: Saved, trained: Trained, tmp_path: Path
) -> None:
    plain, model = plain_model(family, saved(family.name)), trained(family, method)
    model.save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    auto = family.auto_class.from_pretrained(tmp_path / "model").eval()
    inputs = prompts(family, "batch")
    for settings in WAYS.values():
        expected = generated(plain, plain.generate, inputs, **settings)
        assert_same_generation(generated(again.backbone, again.generate, inputs, **settings), expected)
        assert_same_generation(generated(auto, auto.generate, inputs, **settings), expected)
    found, before = again.predict(TEXTS), model.predict(TEXTS)
    for name in HEADS:
        assert all((one == other).all() for one, other in zip(found.logits[name], before.logits[name], strict=True))


@methods
@over("L1", ENCODER_DECODERS)
def test_logits_beside_trained_heads(family: Family, method: str, saved: Saved, trained: Trained) -> None:
    plain, model = plain_model(family, saved(family.name)), trained(family, method)
    batch = padded(rows_of(family)[:6], "right", family.special_id("pad"))
    expected = plain_logits(family, plain, batch)
    assert torch.equal(plain_logits(family, model.backbone, batch), expected)
    decoder = decoder_inputs(family, 6)
    with torch.no_grad():
        output = model(**batch, **decoder, labels=LABELS, lm=True)
        alone = model(**batch, labels=LABELS)
    torch.testing.assert_close(output.lm_logits, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(output.loss, alone.loss)
    assert mh.check_lm(model, saved(family.name), TEXTS[:3]).bit_identical


# --- L9: ends of a text ---


def without_ends(family: Family) -> Any:
    """Return the family's tokenizer, which then adds no token of its own."""
    tokenizer = tokenizer_for(family)
    tokenizer.backend_tokenizer.post_processor = None
    return tokenizer


def with_ends(family: Family) -> list[str]:
    """Return texts with 0, 1, 2... end tokens in them, at their end or not."""
    end = family.specials.roles["eos_token"]
    return [f"{text} {end * row}" if row % 2 else f"{end * row} {text}" for row, text in enumerate(TEXTS[:6])]


@pytest.mark.parametrize("method", ["frozen", "fork"])
@over("L9", ENCODER_DECODERS)
def test_training_and_predicting_texts_with_any_number_of_ends(family: Family, method: str, saved: Saved) -> None:
    folder = saved(family.name)
    model = headed(folder, {"urgency": HEADS["urgency"]})
    model.tokenizer = without_ends(family)
    texts = with_ends(family)
    ids = [torch.tensor(model.tokenizer(text)["input_ids"]) for text in texts]
    assert [int((row == family.special_id("eos")).sum()) for row in ids] == [0, 1, 2, 3, 4, 5]
    rows = [
        {"text": text, "urgency": ("routine", "urgent", "emergency")[row % 3]} for row, text in enumerate(texts * 4)
    ]
    result = mh.train(model, rows, text="text", method=METHODS[method], eval_fraction=0)
    assert result.lm_check.bit_identical
    found = torch.as_tensor(model.predict(texts).logits["urgency"])
    for row, text in enumerate(texts):
        alone = torch.as_tensor(model.predict([text]).logits["urgency"][0])
        torch.testing.assert_close(found[row], alone, rtol=0, atol=1e-5)


@over("L9", ENCODER_DECODERS)
def test_what_a_trained_head_reads_of_such_texts(family: Family, saved: Saved) -> None:
    folder = saved(family.name)
    model = headed(folder, {"urgency": mh.Multiclass(HEADS["urgency"].labels, reads=mh.Hidden(pool="mean"))})
    model.tokenizer = without_ends(family)
    texts = with_ends(family)
    mh.train(model, [{"text": text, "urgency": "urgent" if row % 2 else "routine"} for row, text in
                     enumerate(texts * 4)], text="text", eval_fraction=0)  # fmt: skip
    output = model.heads["urgency"].output
    found = torch.as_tensor(model.predict(texts).logits["urgency"])
    for row, text in enumerate(texts):
        states = plain_states(plain_model(family, folder), torch.tensor(model.tokenizer(text)["input_ids"]))[-1]
        expected = output(HAND_POOLS["mean"](states)).detach()
        torch.testing.assert_close(found[row], expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("side", SIDES)
@methods
@over("L9", ENCODER_DECODERS)
def test_trained_heads_pool_over_the_encoders_mask(family: Family, method: str, side: str, trained: Trained) -> None:
    model, rows = trained(family, method), rows_of(family)[:5]
    with torch.no_grad():
        together = model(**padded(rows, side, family.special_id("eos"))).logits
        for index, row in enumerate(rows):
            alone = model(row[None]).logits
            for name in HEADS:
                # An age of 60 has fewer digits after the point than a feature of 1 has.
                batched = together[name][index]
                if model.heads[name].spec.by_word:  # one item per token of the caller's layout
                    batched = batched[padded(rows, side)["attention_mask"][index].bool()]
                torch.testing.assert_close(batched, alone[name][0], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("method", ["frozen", "fork"])
@over("L9", ENCODER_DECODERS)
def test_heads_trained_on_pairs(family: Family, method: str, saved: Saved) -> None:
    folder = saved(family.name)
    model = headed(folder, {"urgency": HEADS["urgency"]})
    rows = [{**row, "more": TEXTS[(place * 5) % len(TEXTS)]} for place, row in enumerate(RECORDS)]
    mh.train(model, rows, text=("text", "more"), method=METHODS[method])
    pairs = [(row["text"], row["more"]) for row in rows[:4]]
    found = model.predict(pairs).logits["urgency"]
    ids = model.tokenizer([first for first, _ in pairs], [second for _, second in pairs])["input_ids"]
    with torch.no_grad():
        for row, expected in zip(ids, found, strict=True):
            logits = model(torch.tensor([row])).logits["urgency"][0]
            torch.testing.assert_close(logits, torch.as_tensor(expected), rtol=0, atol=1e-5)
    plain, inputs = plain_model(family, folder), prompts(family, "greedy")
    expected = generated(plain, plain.generate, inputs, do_sample=False)
    assert_same_generation(generated(model.backbone, model.generate, inputs, do_sample=False), expected)


# --- tuning the backbone itself ---


@over("L4", ENCODER_DECODERS)
def test_full_tuning_moves_what_the_encoder_computes_with_and_nothing_else(family: Family, saved: Saved) -> None:
    model = headed(saved(family.name), {"urgency": HEADS["urgency"]})
    before = snapshot(model.backbone)
    result = mh.train(model, RECORDS, text="text", method=mh.Full(epochs=1, lr=1e-3))
    moved = changed(model.backbone, before)
    shared = model.backbone.get_input_embeddings().weight
    names = {name for name, parameter in model.backbone.named_parameters(remove_duplicate=False) if parameter is shared}
    # The decoder's embeddings are the encoder's, so they move with them; no weight of the decoder's own does.
    assert {name for name in moved if "encoder." not in f".{name}".replace("decoder.", "")} <= names
    assert any("encoder." in name for name in moved)
    assert not [name for name in moved if ".block" in name and "decoder." in name]
    assert not result.lm_check.bit_identical
    assert (result.lm_check.perplexity, result.lm_check.reference_perplexity) == (None, None)
    assert not mh.check_lm(model, saved(family.name), TEXTS[:2]).bit_identical


@over("L4", ENCODER_DECODERS)
def test_full_tuning_of_the_top_moves_that_block_of_the_encoder(family: Family, saved: Saved) -> None:
    model = headed(saved(family.name), {"urgency": HEADS["urgency"]})
    before = snapshot(model.backbone)
    mh.train(model, RECORDS, text="text", method=mh.Full(top=1, epochs=1, lr=1e-3))
    top = {id(parameter) for parameter in model.core.backbone.blocks()[-1].parameters()}
    expected = {name for name, parameter in model.backbone.named_parameters() if id(parameter) in top}
    moved = changed(model.backbone, before)
    assert moved
    assert set(moved) <= expected
    assert all("encoder" in name for name in moved)


@over("L4", ENCODER_DECODERS)
def test_an_lm_loss_is_rejected_before_anything_moves(family: Family, saved: Saved) -> None:
    """A text is no target for a decoder that reads another: what it should say is not known."""
    model = headed(saved(family.name), {"urgency": HEADS["urgency"]})
    before = snapshot(model)
    with pytest.raises(mh.errors.BackboneError, match="lm_weight needs a causal language model"):
        mh.train(model, RECORDS, text="text", method=mh.Full(epochs=1, lm_weight=0.5))
    assert changed(model, before) == []
