"""What ``generate_and_predict`` returns, what needs a second pass, and what is an error."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from tokenizers import decoders, pre_tokenizers, trainers

import manyheads as mh
from tests.families import BY_NAME, ENCODER_DECODERS, HIDDEN, LAYERS, POSITIONS, TEXTS, perturb, tokenizer_for
from tests.laws.oracle import RECORDS, rows_read

PROMPTS = TEXTS[:5]
GREEDY: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}
# Trained on the backbone itself, on a fork of its top, or on adapters.
METHODS: dict[str, Any] = {
    "frozen": mh.Frozen(dtype=torch.float32),
    "fork": mh.Fork(top=1, epochs=1),
    "lora": mh.LoRA(r=2, epochs=1),
}
READS: dict[str, Any] = {
    "one layer": mh.Hidden(layer=1, pool="mean"),
    "all layers": mh.Hidden(layer="mix", pool="mean"),
    "attention": mh.Hidden(pool="attention"),
    "unit length": mh.Hidden(pool="mean", normalize=True),
    "prompt": mh.Hidden(prompt="{text}\nUrgency:"),
    "logits": mh.LMLogits(),
    "words": mh.Lexical(),
    "both": [mh.Hidden(), mh.Lexical()],
}


def headed(family: str = "gpt2", reads: Any = "auto", method: Any = None, **settings: Any) -> mh.HeadedModel:
    """Return a tiny model with one trained head."""
    model = mh.HeadedModel.wrap(BY_NAME[family].build(), tokenizer_for(BY_NAME[family]))
    reads = mh.Hidden() if reads == "auto" else reads
    model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent", "emergency"], reads=reads, **settings))
    mh.train(model, RECORDS, text="text", method=METHODS["frozen"] if method is None else method, eval_fraction=0)
    return model


def assert_as_predicted(model: mh.HeadedModel, found: mh.Predictions, prompts: list[str] = PROMPTS) -> None:
    expected = model.predict(prompts)
    for name in expected.heads:
        np.testing.assert_allclose(found.logits[name], expected.logits[name], rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    """A GPT-2 with a trained head; tests must not change it."""
    return headed()


# --- texts ---


def spelled(kind: str) -> mh.HeadedModel:
    """Return a Qwen2 whose tokenizer writes spaces as GPT-2 does (bytes) or as Llama does (and drops the first)."""
    model = headed("qwen2")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder, alphabet = {
        "bytes": lambda: (pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel(), []),
        "spaces": lambda: (pre_tokenizers.Metaspace(), decoders.Metaspace(), ["▁"]),
    }[kind]()
    trainer = trainers.BpeTrainer(
        vocab_size=160, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    model.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    return model


@pytest.mark.parametrize("kind", ["bytes", "spaces"])
def test_prompt_and_text_join_to_what_generate_writes(kind: str) -> None:
    model = spelled(kind)
    texts, _ = model.generate_and_predict(PROMPTS, **GREEDY)
    assert any(text.startswith(" ") for text in texts)
    for prompt, text in zip(PROMPTS, texts, strict=True):
        whole = model.generate(**model.tokenizer(prompt, return_tensors="pt"), **GREEDY)[0]
        assert prompt + text == model.tokenizer.decode(whole, skip_special_tokens=True)


def test_one_text_for_each_prompt_or_a_list_of_them(model: mh.HeadedModel) -> None:
    texts, predictions = model.generate_and_predict(PROMPTS, **GREEDY)
    assert [type(text) for text in texts] == [str] * 5
    several, again = model.generate_and_predict(PROMPTS, num_beams=2, num_return_sequences=2, **GREEDY)
    assert [len(row) for row in several] == [2] * 5
    assert len(predictions) == len(again) == 5


def test_no_prompts_are_no_rows(model: mh.HeadedModel) -> None:
    texts, predictions = model.generate_and_predict([], max_new_tokens=3)
    assert texts == []
    assert len(predictions) == 0


def test_an_empty_prompt_is_flagged(model: mh.HeadedModel) -> None:
    texts, predictions = model.generate_and_predict(["", TEXTS[0]], **GREEDY)
    assert len(texts) == 2
    assert predictions.empty.tolist() == [True, False]
    assert_as_predicted(model, predictions, ["", TEXTS[0]])


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_tokenizers_padding_side_does_not_matter(side: str) -> None:
    model = headed("qwen3")
    expected, _ = model.generate_and_predict(PROMPTS, **GREEDY)
    model.tokenizer.padding_side = side
    texts, predictions = model.generate_and_predict(PROMPTS, **GREEDY)
    assert texts == expected
    assert_as_predicted(model, predictions)


def test_stop_strings_need_no_tokenizer() -> None:
    model = spelled("bytes")
    free, _ = model.generate_and_predict(PROMPTS, **GREEDY)
    prompt, text = max(zip(PROMPTS, free, strict=True), key=lambda pair: len(pair[1]))
    [stopped], _ = model.generate_and_predict([prompt], stop_strings=[text[0]], **GREEDY)
    assert stopped
    assert len(stopped) < len(text)


def test_a_dictionary_of_outputs_still_gives_texts(model: mh.HeadedModel) -> None:
    expected, _ = model.generate_and_predict(PROMPTS, **GREEDY)
    texts, predictions = model.generate_and_predict(
        PROMPTS, **GREEDY, return_dict_in_generate=True, output_hidden_states=True
    )
    assert texts == expected
    assert_as_predicted(model, predictions)


# --- what heads read ---


@pytest.mark.parametrize("reads", READS)
@pytest.mark.parametrize("family", ["gpt2", "gemma3"])
def test_whatever_a_head_reads(family: str, reads: str) -> None:
    model = headed(family, READS[reads])
    _, predictions = model.generate_and_predict(PROMPTS, num_beams=2, **GREEDY)
    assert_as_predicted(model, predictions)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5"])
def test_forks_resume_from_the_prefill_and_adapters_run_again(family: str, method: str) -> None:
    model = headed(family, method=METHODS[method])
    model.train()
    model.backbone.eval()
    model.generate_and_predict(PROMPTS, **GREEDY)
    branches = [branch.stack for branch in model.core.backbone.branches.values()]
    runs: list[str] = []
    handles = [stack.register_forward_hook(lambda *_: runs.append("whole")) for stack in branches]
    with rows_read(model.backbone) as rows:
        _, predictions = model.generate_and_predict(PROMPTS, max_new_tokens=1, do_sample=False)
    for handle in handles:
        handle.remove()
    assert rows == [len(PROMPTS)]
    assert bool(runs) == (method == "lora")
    assert_as_predicted(model.eval(), predictions)


def test_only_the_chosen_heads_answer(model: mh.HeadedModel) -> None:
    _, predictions = model.generate_and_predict(PROMPTS, heads=iter(["urgency"]), **GREEDY)
    assert predictions.heads == ("urgency",)
    with pytest.raises(mh.errors.UnknownHeadError, match="urgenzy"):
        model.generate_and_predict(PROMPTS, heads=["urgenzy"])


# --- a second pass, and never another answer ---


def test_heads_of_another_precision_are_asked_in_theirs() -> None:
    model = headed(method=mh.Frozen(dtype=torch.bfloat16))
    model.add_head("own", mh.Multiclass(labels=["a", "b"]))
    model.heads["own"].trained = True
    with pytest.warns(mh.errors.SecondPassWarning, match="'urgency'.*bfloat16") as caught:
        _, predictions = model.generate_and_predict(PROMPTS, **GREEDY)
    assert len(caught) == 1
    assert np.array_equal(predictions.logits["urgency"], model.predict(PROMPTS).logits["urgency"])
    assert_as_predicted(model, predictions)


def test_a_model_in_training_mode_generates_with_dropout_and_predicts_without() -> None:
    model = headed()
    model.train()
    with pytest.warns(mh.errors.SecondPassWarning):
        _, predictions = model.generate_and_predict(PROMPTS, **GREEDY)
    assert model.backbone.training
    assert_as_predicted(model, predictions)


def test_a_stack_that_left_padding_disturbs() -> None:
    """BART's decoder counts padding as positions, so the states of its padded prompts are not those of the prompts."""
    config = transformers.BartConfig(
        vocab_size=96, d_model=HIDDEN, decoder_layers=LAYERS, decoder_attention_heads=4, decoder_ffn_dim=48,
        max_position_embeddings=POSITIONS, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    backbone = transformers.BartForCausalLM(config).eval()
    perturb(backbone)
    model = mh.HeadedModel.wrap(backbone, tokenizer_for(BY_NAME["gpt2"]))
    model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent", "emergency"]))
    mh.train(model, RECORDS, text="text", method=METHODS["frozen"], eval_fraction=0)
    with pytest.warns(mh.errors.SecondPassWarning):
        _, predictions = model.generate_and_predict(PROMPTS, **GREEDY)
    assert_as_predicted(model, predictions)
    with warnings.catch_warnings(action="error"):  # one prompt has no padding
        _, predictions = model.generate_and_predict(PROMPTS[:1], **GREEDY)
    assert_as_predicted(model, predictions, PROMPTS[:1])


def test_a_cache_of_the_callers_own(model: mh.HeadedModel) -> None:
    cache = transformers.DynamicCache(config=model.backbone.config)
    with pytest.warns(mh.errors.SecondPassWarning):
        _, predictions = model.generate_and_predict(PROMPTS, past_key_values=cache, **GREEDY)
    assert_as_predicted(model, predictions)


def test_an_early_exit_is_not_taken_for_the_prefill() -> None:
    model = headed("llama", mh.Hidden(pool="mean"))
    expected, _ = model.generate_and_predict(PROMPTS[:1], **GREEDY)
    texts, predictions = model.generate_and_predict(PROMPTS[:1], assistant_early_exit=1, **GREEDY)
    assert texts == expected
    assert_as_predicted(model, predictions, PROMPTS[:1])


# --- errors ---


def test_prompts_that_leave_no_room(model: mh.HeadedModel) -> None:
    long = " ".join(["cough"] * (POSITIONS - 3))
    texts, _ = model.generate_and_predict(["burn", long], **GREEDY)
    assert len(texts) == 2
    with pytest.raises(mh.errors.InputError, match=r"row 2: has 61 tokens, GPT2LMHeadModel has room for 60 before 5"):
        model.generate_and_predict(["burn", long], max_new_tokens=5)
    with pytest.raises(mh.errors.InputError, match="row 1: has 64 tokens"):
        model.generate_and_predict([" ".join(["cough"] * 90)], max_new_tokens=1)


@pytest.mark.parametrize("family", [family.name for family in ENCODER_DECODERS])
def test_the_text_of_an_encoder_may_fill_its_limit(family: str) -> None:
    model, prompts = headed(family), ["burn", " ".join(["cough"] * 90)]
    texts, predictions = model.generate_and_predict(prompts, **GREEDY)
    assert len(texts) == 2
    assert predictions.truncated.tolist() == [False, True]
    assert_as_predicted(model, predictions, prompts)


@pytest.mark.parametrize("name", ["inputs", "input_ids", "attention_mask", "position_ids", "inputs_embeds"])
def test_what_the_prompts_become_is_not_an_option(model: mh.HeadedModel, name: str) -> None:
    with pytest.raises(mh.errors.InputError, match=f"{name} is made from the prompts"):
        model.generate_and_predict(PROMPTS, **{name: torch.ones(5, 2, dtype=torch.long)})


def test_an_unknown_option_is_transformers_own_error(model: mh.HeadedModel) -> None:
    with pytest.raises(ValueError, match="max_new_token"):
        model.generate_and_predict(PROMPTS, max_new_token=3)


def _without_heads() -> mh.HeadedModel:
    return mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer_for(BY_NAME["gpt2"]))


def _without_tokenizer() -> mh.HeadedModel:
    model = mh.HeadedModel.wrap(BY_NAME["gpt2"].build())
    model.add_head("urgency", mh.Multiclass(labels=["a", "b"]))
    model.heads["urgency"].trained = True
    return model


@pytest.mark.parametrize(
    ("make", "prompts", "error"),
    [
        (_without_heads, PROMPTS, mh.errors.HeadError),
        (_without_tokenizer, PROMPTS, mh.errors.InputError),
        (lambda: headed("bert"), PROMPTS, mh.errors.NoLanguageModelError),
        (headed, "one prompt", mh.errors.TextError),
        (headed, [3], mh.errors.TextError),
    ],
)
def test_nothing_is_generated_in_vain(make: Callable[[], mh.HeadedModel], prompts: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        make().generate_and_predict(prompts, max_new_tokens=2)
