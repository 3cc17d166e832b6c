"""L10, L23, L24 for prompts: what is read is what plain transformers reads of the ids written out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import manyheads as mh
from tests.families import BY_NAME, CAUSAL, FAMILIES, HIDDEN, TEXTS, Family, tokenizer_for
from tests.laws.oracle import (
    HAND_POOLS,
    RECORDS,
    add_heads,
    decoder_inputs,
    default_pool,
    headed,
    open_probes,
    over,
    padded,
    plain_model,
    plain_states,
    probe,
    rows_of,
    stack,
)

AROUND = "the patient shows\n{text} , urgent"
AFTER = "{text} , urgent or routine"
OTHER = "{text} , old or new night"
# Mamba keeps no key-value cache, and the texts are longer than this Gemma's window of attention: here each prompt is a
# pass of its own.
WHOLE = {"mamba", "gemma3"}


def by_hand(family: Family, prompt: str, text: str) -> Tensor:
    """Return the ids of a text in a prompt (tokens,), the special tokens around all of it."""
    tokenizer = tokenizer_for(family)
    before, after = prompt.split("{text}")
    body = [*_plain(tokenizer, before), *_plain(tokenizer, text), *_plain(tokenizer, after)]
    alone, whole = _plain(tokenizer, text), tokenizer(text)["input_ids"]
    start = next(place for place in range(len(whole)) if whole[place : place + len(alone)] == alone)
    return torch.tensor([*whole[:start], *body, *whole[start + len(alone) :]])


def _plain(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def prompted(folder: Path, taps: dict[str, mh.Hidden]) -> mh.HeadedModel:
    """Load a folder with one probe per tap: its logits are what the tap reads."""
    model = mh.HeadedModel.from_pretrained(folder)
    add_heads(model, {name: probe(tap) for name, tap in taps.items()})
    open_probes(model)
    for head in model.heads.values():
        head.trained = True
    return model.eval()


@contextmanager
def widths(model: mh.HeadedModel) -> Iterator[list[int]]:
    """Record how many tokens each row of each pass of the stack has."""
    with torch.no_grad():  # once, so that everything about the backbone is found out
        model(**padded([torch.tensor([7, 8, 9])]), lm=model.lm is not None)
    seen: list[int] = []
    handle = model.core.backbone.stack.register_forward_pre_hook(
        lambda _, inputs, named: seen.append((inputs[0] if inputs else named["input_ids"]).shape[1]), with_kwargs=True
    )
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("prompt", [AROUND, AFTER])
@over("L10", FAMILIES)
def test_l10_a_prompt_reads_the_ids_written_out(saved: Callable[[str], Path], family: Family, prompt: str) -> None:
    folder, plain = saved(family.name), plain_model(family, saved(family.name))
    pools = ("auto", "mean", "max")
    model = prompted(folder, {pool: mh.Hidden(pool=pool, prompt=prompt) for pool in pools})
    for side in ("right", "left", "inside"):
        with torch.no_grad():
            found = model(**padded(rows_of(family), side)).logits
        for row, text in enumerate(TEXTS):
            states = plain_states(plain, by_hand(family, prompt, text))[-1]
            last = stack(plain)(input_ids=by_hand(family, prompt, text)[None]).last_hidden_state[0].detach()
            assert states.shape == last.shape
            for pool in pools:
                wanted = HAND_POOLS[default_pool(family) if pool == "auto" else pool](last)
                torch.testing.assert_close(found[pool][row], wanted, atol=2e-5, rtol=1e-5)


@over("L10", FAMILIES)
def test_l10_prompts_together_read_what_each_reads_alone(saved: Callable[[str], Path], family: Family) -> None:
    taps = {
        "plain": mh.Hidden(),
        "after": mh.Hidden(prompt=AFTER),
        "deep": mh.Hidden(layer=-2, pool="mean", prompt=AFTER),
        "other": mh.Hidden(prompt=OTHER),
        "around": mh.Hidden(prompt=AROUND),
        "asked": mh.Hidden(prompt="the patient shows\n{text} , mild", pool="max"),
    }
    together = prompted(saved(family.name), taps)
    batch = padded(rows_of(family), "left")
    with torch.no_grad():
        found = together(**batch).logits
        for name, tap in taps.items():
            alone = prompted(saved(family.name), {name: tap})
            torch.testing.assert_close(found[name], alone(**batch).logits[name], atol=2e-5, rtol=1e-5)


@over("L23", CAUSAL)
def test_l23_prompts_after_the_text_go_on_from_the_one_pass(saved: Callable[[str], Path], family: Family) -> None:
    model = prompted(
        saved(family.name), {"plain": mh.Hidden(), "one": mh.Hidden(prompt=AFTER), "two": mh.Hidden(prompt=OTHER)}
    )
    batch = padded(rows_of(family))
    with torch.no_grad(), widths(model) as seen:
        out = model(**batch, lm=True)
    longest = max(len(row) for row in rows_of(family))
    added = {prompt: len(_plain(tokenizer_for(family), prompt.split("{text}")[1])) for prompt in (AFTER, OTHER)}
    if family.name in WHOLE:
        assert sorted(seen) == sorted([longest, *(longest + more for more in added.values())])
    else:
        assert sorted(seen) == sorted([longest, *added.values()])
    with torch.no_grad():
        assert torch.equal(out.lm_logits, model(**batch, lm=True, heads=[]).lm_logits)


def test_l23_heads_with_the_same_prompt_share_its_pass(saved: Callable[[str], Path]) -> None:
    model = prompted(saved("gpt2"), {"a": mh.Hidden(prompt=AROUND), "b": mh.Hidden(-2, "mean", AROUND)})
    with torch.no_grad(), widths(model) as seen:
        model(**padded(rows_of(BY_NAME["gpt2"])))
    assert len(seen) == 1


def test_l23_prompts_with_the_same_beginning_read_it_once(saved: Callable[[str], Path]) -> None:
    one, two = "old man shows {text} , urgent", "old man shows {text} today again"
    model = prompted(saved("llama"), {"a": mh.Hidden(prompt=one), "b": mh.Hidden(prompt=two)})
    longest = max(len(row) for row in rows_of(BY_NAME["llama"]))
    with torch.no_grad(), widths(model) as seen:
        model(**padded(rows_of(BY_NAME["llama"])))
    assert seen == [longest + 3, 2, 2]


def test_gradients_flow_through_prompts(saved: Callable[[str], Path]) -> None:
    """Where gradients are recorded, every prompt is a pass of its own, and they are those of the ids written out."""
    family = BY_NAME["gpt2"]
    model = headed(
        saved("gpt2"), {"a": mh.Multiclass([0, 1], reads=mh.Hidden(prompt=AFTER)), "b": mh.Multiclass([0, 1])}
    )
    weight = model.backbone.transformer.h[0].mlp.c_fc.weight
    batch = padded(rows_of(family)[:2])
    model(**batch, labels={"a": torch.tensor([0, 1])}).loss.backward()
    found = weight.grad.clone()
    weight.grad = None
    ids = [by_hand(family, AFTER, text) for text in TEXTS[:2]]
    states = [stack(model.backbone)(input_ids=row[None]).last_hidden_state[0, -1] for row in ids]
    head = model.heads["a"]
    logits = torch.stack([head.output(state) for state in states])
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1])).backward()
    torch.testing.assert_close(found, weight.grad, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    "method",
    [mh.Frozen(), mh.Fork(top=1, epochs=1), mh.LoRA(r=2, epochs=1), mh.Full(epochs=1)],
    ids=lambda method: type(method).__name__,
)
def test_l24_heads_with_prompts_train_and_say_live_what_they_predict(
    saved: Callable[[str], Path], method: Any, tmp_path: Path
) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden(prompt=AFTER)))
    model.add_head("sent", mh.Multiclass(["yes", "no"], reads=[mh.Hidden(), mh.Hidden(pool="mean", prompt=AROUND)]))
    result = mh.train(model, RECORDS, text="text", method=method, out=tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    encoded = model.tokenizer(TEXTS, return_tensors=None)["input_ids"]
    with torch.no_grad():
        live = again(**padded([torch.tensor(ids) for ids in encoded])).logits
    kept, loaded = model.predict(TEXTS), again.predict(TEXTS)
    for name in ("urgency", "sent"):
        assert np.array_equal(kept.logits[name], loaded.logits[name])
        np.testing.assert_allclose(live[name].numpy(), kept.logits[name], atol=2e-4, rtol=1e-4)
        assert "shows" in result.reads["sent"]


def test_l24_another_prompt_meets_no_stale_entry(saved: Callable[[str], Path], tmp_path: Path) -> None:
    method = mh.Frozen(cache=tmp_path / "cache")
    passes: list[int] = []
    for prompt in (AFTER, OTHER, AFTER):
        model = mh.HeadedModel.from_pretrained(saved("gpt2"))
        model.add_head("urgency", mh.Multiclass(["routine", "urgent", "emergency"], reads=mh.Hidden(prompt=prompt)))
        with widths(model) as seen:
            mh.train(model, RECORDS, text="text", method=method)
        passes.append(len(seen))
    assert passes == [passes[0], passes[0], 0]
    assert passes[0] > 0


def test_a_text_too_long_for_its_prompt_is_cut_and_reported(saved: Callable[[str], Path]) -> None:
    family = BY_NAME["gpt2"]
    model = prompted(saved("gpt2"), {"a": mh.Hidden(prompt=AROUND), "plain": mh.Hidden()})
    added = len(by_hand(family, AROUND, "fever")) - 1
    fits, over_it = " ".join(["fever"] * (64 - added)), " ".join(["fever"] * (64 - added + 3))
    found = model.predict([fits, over_it])
    assert found.truncated.tolist() == [False, True]
    np.testing.assert_allclose(found.logits["a"][0], found.logits["a"][1], atol=1e-5)
    alone = prompted(saved("gpt2"), {"plain": mh.Hidden()}).predict([over_it])
    np.testing.assert_allclose(found.logits["plain"][1], alone.logits["plain"][0], atol=1e-5)
    assert not alone.truncated[0]
    with pytest.raises(mh.errors.InputError, match="limit"):
        model.predict([over_it], long_text="error")


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
def test_an_empty_text_is_the_prompt_alone(saved: Callable[[str], Path], name: str) -> None:
    """Also where a text without tokens is given one, so that there is something to read."""
    family = BY_NAME[name]
    model = prompted(saved(name), {"a": mh.Hidden(pool="max", prompt=AROUND)})
    found = model.predict(["", "fever"])
    tokenizer = tokenizer_for(family)
    ids = torch.tensor(tokenizer(AROUND.replace("{text}", ""))["input_ids"])
    wanted = HAND_POOLS["max"](plain_states(plain_model(family, saved(name)), ids)[-1])
    np.testing.assert_allclose(found.logits["a"][0], wanted, atol=1e-5)
    assert found.empty.tolist() == [True, False]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_the_answer_for_an_empty_text_does_not_depend_on_other_heads(name: str) -> None:
    family = BY_NAME[name]
    model = mh.HeadedModel.wrap(family.build(), tokenizer_for(family))
    for head, tap in {"prompted": mh.Hidden(prompt="{text} pain"), "plain": mh.Hidden()}.items():
        model.add_head(head, mh.Multiclass(labels=["low", "high"], reads=tap)).trained = True
    texts = ["", TEXTS[0]]
    alone = model.predict(texts, heads=["prompted"]).logits["prompted"]
    np.testing.assert_allclose(model.predict(texts).logits["prompted"], alone, atol=1e-5)


def test_a_prompt_that_leaves_no_room_is_rejected(saved: Callable[[str], Path]) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    with pytest.raises(mh.errors.HeadError, match="no room"):
        model.add_head("a", mh.Multiclass([0, 1], reads=mh.Hidden(prompt="{text} " + "fever " * 63 + "fever")))
    assert not model.heads


def test_a_space_that_becomes_a_token_raises_a_warning(saved: Callable[[str], Path]) -> None:
    """Byte pairs keep the space in the word after it."""
    model = mh.HeadedModel.from_pretrained(saved("qwen2"))
    assert len(model.tokenizer(" a")["input_ids"]) == 1
    for prompt in ("the patient shows {text}", "{text} , urgent: "):
        with pytest.warns(mh.ManyheadsWarning, match="has a space before"):
            model.add_head(f"head{len(model.heads)}", mh.Multiclass([0, 1], reads=mh.Hidden(prompt=prompt)))
    model.add_head("good", mh.Multiclass([0, 1], reads=mh.Hidden(prompt="the patient shows:\n{text}\nUrgent:")))


@pytest.mark.parametrize("prompt", ["Urgency:", "{text} {text}", "", 3, ["{text}"]])
def test_a_prompt_without_one_place_for_the_text_is_rejected(prompt: Any) -> None:
    with pytest.raises(mh.errors.HeadError, match=r"\{text\}"):
        mh.Hidden(prompt=prompt)
    with pytest.raises(mh.errors.HeadError, match=r"\{text\}"):
        mh.LMLogits(prompt=prompt)


def test_prompts_need_a_tokenizer_and_single_texts(saved: Callable[[str], Path]) -> None:
    for name in ("bert", "gpt2"):  # whether or not the tokenizer tells the two texts apart
        model = prompted(saved(name), {"a": mh.Hidden(prompt=AROUND)})
        with pytest.raises(mh.errors.InputError, match="no pairs"):
            model.predict([("fever", "cough")])
    bare = mh.HeadedModel.wrap(model.backbone)
    with pytest.raises(mh.errors.InputError, match="no tokenizer"):
        bare.add_head("a", mh.Multiclass([0, 1], reads=mh.Hidden(prompt=AROUND)))
    assert not bare.heads


def test_another_tokenizer_reads_the_prompts_too(saved: Callable[[str], Path]) -> None:
    model = prompted(saved("gpt2"), {"a": mh.Hidden(prompt=AROUND)})
    before = model.predict(["fever"]).logits["a"]
    words = tokenizer_for(BY_NAME["roberta"])  # other ids for the same words
    model.tokenizer = words
    ids = torch.tensor(words("the patient shows fever , urgent", add_special_tokens=False)["input_ids"])
    ids = torch.tensor([words.cls_token_id, *ids.tolist(), words.sep_token_id])
    with torch.no_grad():
        wanted = plain_model(BY_NAME["gpt2"], saved("gpt2")).transformer(ids[None]).last_hidden_state[0, -1]
    np.testing.assert_allclose(model.predict(["fever"]).logits["a"][0], wanted.numpy(), atol=1e-5)
    assert not np.allclose(before[0], wanted.numpy(), atol=1e-2)


def test_braces_in_a_prompt_are_letters(saved: Callable[[str], Path]) -> None:
    model = prompted(saved("gpt2"), {"a": mh.Hidden(prompt="{old} {text} {0}")})
    assert model.heads["a"].output.in_features == HIDDEN
    assert np.isfinite(model.predict(["fever"]).logits["a"]).all()


@over("L1-L2-L19", FAMILIES)
def test_heads_that_ask_leave_the_language_model_alone(
    saved: Callable[[str], Path], family: Family, tmp_path: Path
) -> None:
    """Trained heads with prompts and on the LM head: same logits, same tokens, same files, also when reloaded."""
    folder, plain = saved(family.name), plain_model(family, saved(family.name))
    model = mh.HeadedModel.from_pretrained(folder)
    levels = ["routine", "urgent", "emergency"]
    model.add_head("urgency", mh.Multiclass(levels, reads=[mh.Hidden(prompt=AFTER), mh.Hidden()]))
    model.add_head("asked", mh.Multiclass(levels, column="urgency", reads=mh.Hidden(prompt=AROUND)))
    if not family.encoder_decoder:
        model.add_head("reported", mh.Multiclass(levels, column="urgency", reads=mh.LMLogits(top_k=8)))
    if family.causal:
        model.add_head("zero", mh.Multiclass(levels, column="urgency", zero_shot=True))
    mh.train(model, RECORDS, text="text", heads=[name for name in model.heads if name != "zero"])
    model.save_pretrained(tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    batch = padded(rows_of(family)[:4])
    for one in (model, again):
        with torch.no_grad():
            inputs = {**batch, **decoder_inputs(family, 4)}
            assert torch.equal(one.backbone(**inputs).logits, plain(**inputs).logits)
            # Where the batch is rearranged, a vocabulary's product may end in other bits.
            torch.testing.assert_close(
                one(**inputs, lm=True).lm_logits[0, :3], plain(**inputs).logits[0, :3], atol=1e-5, rtol=1e-5
            )
        if family.generates:
            prompt = {"input_ids": rows_of(family)[0][None]}
            settings = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
            assert torch.equal(one.generate(**prompt, **settings), plain.generate(**prompt, **settings))
    for name, logits in model.predict(TEXTS).logits.items():
        assert np.array_equal(logits, again.predict(TEXTS).logits[name])
    assert (tmp_path / "out/config.json").read_bytes() == (folder / "config.json").read_bytes()
