"""L5: words added to the tokenizer leave old rows and old ids' logits as they were, and nobody calls the
language model unchanged."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

import manyheads as mh
from manyheads.bags.terms import BASE
from tests.families import BY_NAME, BYTE_PAIRS, FAMILIES, GENERATING, TEXTS, Family, perturb, tokenizer_for
from tests.laws.oracle import (
    HEADS,
    RECORDS,
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
# Qwen2's matrix of embeddings is larger than its tokenizer's vocabulary here, as in its published checkpoints.
SPARE = {"qwen2"}
WORDS = ["metformin", "hyperkalemia", "antipyretic"]
NEW_TEXT = "the patient has had metformin and hyperkalemia"


class Extended:
    """A family with added words.

    Attributes:
        model: With heads that were never trained; tests must not change it.
        added: What ``add_tokens`` returned.
        old: The tokenizer as it was.
    """

    def __init__(self, family: Family, folder: Path) -> None:
        self.model = headed(folder)
        self.old = copy.deepcopy(self.model.tokenizer)
        self.draws = torch.get_rng_state()
        self.added = self.model.add_tokens(WORDS)
        self.plain = plain_model(family, folder)


@pytest.fixture(scope="module")
def extended(saved: Saved) -> Callable[[Family], Extended]:
    return functools.cache(lambda family: Extended(family, saved(family.name)))


Of = Callable[[Family], Extended]


def shared(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def pieces_of(case: Extended, word: str) -> list[int]:
    return case.old(word, add_special_tokens=False)["input_ids"]


def ids_of(case: Extended) -> list[int]:
    return case.model.tokenizer.convert_tokens_to_ids(WORDS)


def by_token(case: Extended) -> dict[str, tuple[Tensor, Tensor]]:
    """Return every tensor, now and before, that has a row per token, with its rows first."""
    before, now = case.plain.state_dict(), case.model.backbone.state_dict()
    assert set(before) == set(now)
    size = case.plain.get_input_embeddings().num_embeddings
    tensors = {name: (now[name], before[name]) for name in now}
    # Where nothing had to grow, sizes tell; they may be the same by chance elsewhere (96 is 3 * 32).
    grown = {
        name: now.shape != before.shape or (size in now.shape and size == BYTE_PAIRS)
        for name, (now, before) in tensors.items()
    }
    tensors = {name: pair for name, pair in tensors.items() if grown[name]}
    return {name: tuple(tensor.squeeze(0) for tensor in pair) for name, pair in tensors.items()}


# --- rows ---


@over("L5", FAMILIES)
def test_what_was_added(family: Family, extended: Of) -> None:
    case = extended(family)
    added, model = case.added, case.model
    assert (added.words, added.known) == (tuple(WORDS), ())
    assert added.vocabulary_before == len(case.old)
    assert added.vocabulary_after == len(case.old) + len(WORDS) == len(model.tokenizer)
    rows = case.plain.get_input_embeddings().num_embeddings
    assert added.rows_before == rows
    assert added.rows_after == model.backbone.get_input_embeddings().weight.shape[0]
    assert added.rows_after == (rows if family.name in SPARE else max(rows, max(ids_of(case)) + 1))
    assert model.backbone.config.vocab_size == added.rows_after
    assert model.core.backbone.facts.vocabulary_size == added.rows_after
    pieces = {word: case.old.convert_ids_to_tokens(pieces_of(case, word)) for word in WORDS}
    assert {word: list(found) for word, found in added.pieces.items()} == pieces


@over("L5", FAMILIES)
def test_old_rows_keep_every_bit(family: Family, extended: Of) -> None:
    case = extended(family)
    known = len(case.old)
    for name, tensor in case.plain.state_dict().items():
        now = case.model.backbone.state_dict()[name]
        assert now.dtype == tensor.dtype
        assert now.device == tensor.device
        if name not in by_token(case):
            assert torch.equal(now, tensor), name
    for name, (now, before) in by_token(case).items():
        assert torch.equal(now[:known], before[:known]), name
    assert by_token(case)


@over("L5", FAMILIES)
def test_a_new_row_is_the_mean_of_the_rows_of_its_pieces(family: Family, extended: Of) -> None:
    """In the embeddings, in the LM head where that has rows of its own, and in every bias."""
    case = extended(family)
    for word, token in zip(WORDS, ids_of(case), strict=True):
        for name, (now, before) in by_token(case).items():
            expected = before[pieces_of(case, word)].mean(dim=0)
            torch.testing.assert_close(
                now[token], expected, rtol=0, atol=1e-7, msg=lambda text, at=name: f"{at} {text}"
            )
    head = case.model.backbone.get_output_embeddings()
    assert {"weight", "bias"} >= {name for name, _ in head.named_parameters()}
    held = {id(tensor) for tensor, _ in by_token(case).values()}
    assert all(len(tensor) == case.added.rows_after for tensor in head.parameters())
    assert held


@over("L5", FAMILIES)
def test_tied_stays_tied(family: Family, extended: Of) -> None:
    case = extended(family)
    assert shared(case.model.backbone) == shared(case.plain)
    assert same_objects(case.model.backbone) == same_objects(case.plain)
    assert all(parameter.requires_grad for parameter in case.model.backbone.parameters())
    assert not any(module.training for module in case.model.modules())


def same_objects(model: torch.nn.Module) -> set[frozenset[str]]:
    """Return the names under which each parameter is found."""
    names: dict[int, set[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), set()).add(name)
    return {frozenset(found) for found in names.values()}


def test_l5_nobody_elses_draws_depend_on_it(saved: Saved) -> None:
    """transformers fills new rows at random; none of that is left, and the generator is where it was."""
    models = []
    for seed in (0, 1):
        model = mh.HeadedModel.from_pretrained(saved("gptj"))
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        model.add_tokens(WORDS)
        assert torch.equal(torch.get_rng_state(), before)
        models.append(snapshot(model.backbone))
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])


# --- outputs ---


@over("L5", FAMILIES)
def test_old_ids_have_their_logits(family: Family, extended: Of) -> None:
    """The law asks for 1e-4; one product of a few more columns gives every bit, here."""
    case = extended(family)
    inputs = padded(rows_of(family)[:6], "right", family.special_id("pad") or 0)
    expected = plain_logits(family, case.plain, inputs)
    found = plain_logits(family, case.model.backbone, inputs)
    known = len(case.old)
    torch.testing.assert_close(found[..., :known], expected[..., :known], rtol=0, atol=1e-6)
    assert found.shape[-1] == case.added.rows_after


@over("L5", FAMILIES)
def test_new_ids_take_probability(family: Family, extended: Of) -> None:
    """What the law warns of is there: the old ids' probabilities are no longer what they were."""
    case = extended(family)
    inputs = padded(rows_of(family)[:6], "right", family.special_id("pad") or 0)
    new = plain_logits(family, case.model.backbone, inputs).softmax(-1)[..., ids_of(case)]
    assert new.sum(-1).max() > 1e-3


@over("L5", FAMILIES)
def test_heads_read_texts_without_new_words_as_before(family: Family, extended: Of, saved: Saved) -> None:
    case, before = extended(family), headed(saved(family.name))
    batch = padded(rows_of(family)[:6], "left", family.special_id("pad") or 0)
    with torch.no_grad():
        assert all(
            torch.equal(value, before(**batch).logits[name]) for name, value in case.model(**batch).logits.items()
        )


@over("L5", FAMILIES)
def test_new_words_are_read(family: Family, extended: Of) -> None:
    model = extended(family).model
    row = torch.tensor([model.tokenizer(NEW_TEXT)["input_ids"]])
    assert set(ids_of(extended(family))[:2]) <= set(row[0].tolist())
    with torch.no_grad():
        found = model(row, **decoder_inputs(family, 1), lm=True)
    assert all(bool(value.isfinite().all()) for value in found.logits.values())
    assert found.lm_logits.shape[-1] == extended(family).added.rows_after


# Families beyond the table that resize in ways of their own: another name for the head, a head in two parts, a bias
# beside it, a resizing that takes no settings.
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "XLNetLMHeadModel": ("XLNetConfig", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48}),
    "MobileBertForMaskedLM": (
        "MobileBertConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
         "embedding_size": 16, "intra_bottleneck_size": 16},
    ),
    "MarianMTModel": (
        "MarianConfig",
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "pad_token_id": 0,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "decoder_start_token_id": 0,
         "max_position_embeddings": 64},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_l5_families_that_resize_in_their_own_way(name: str) -> None:
    config, settings = OTHERS[name]
    model = getattr(transformers, name)(getattr(transformers, config)(vocab_size=96, **settings)).eval()
    perturb(model)
    before = snapshot(model)
    ids = torch.tensor([[5, 9, 17, 33, 40, 6]])
    extra = {"decoder_input_ids": ids[:, :3]} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        expected = model(ids, **extra).logits
        headed_model = mh.HeadedModel.wrap(model, tokenizer_for(BY_NAME["bert"]))
        unknown = headed_model.tokenizer.unk_token_id
        headed_model.add_tokens(WORDS)
        found = model(ids, **extra).logits
    assert torch.equal(found[..., :96], expected)
    assert found.shape[-1] == 96 + len(WORDS)
    # The tokenizer has no pieces for these words but the unknown one, whose logit theirs is, wherever it comes from.
    for token in range(96, 96 + len(WORDS)):
        torch.testing.assert_close(found[..., token], expected[..., unknown], rtol=0, atol=1e-5)
    assert {name for name, tensor in model.state_dict().items() if tensor.shape != before[name].shape}


# --- nobody calls it unchanged ---


@over("L5", FAMILIES)
def test_check_lm_output_what_is_new(family: Family, extended: Of, saved: Saved) -> None:
    case = extended(family)
    check = mh.check_lm(case.model, saved(family.name), [*TEXTS[:3], NEW_TEXT])
    assert (check.bit_identical, check.new_tokens) == (False, len(WORDS))
    assert check.max_abs_diff < 1e-4
    if family.causal and family.name not in SPARE:  # rows to spare took probability before
        assert check.perplexity > check.reference_perplexity
    back = mh.check_lm(mh.HeadedModel.from_pretrained(saved(family.name)), case.model, TEXTS[:2])
    assert (back.bit_identical, back.new_tokens) == (False, -len(WORDS))


def test_l5_check_lm_of_a_changed_row_shows_beside_new_tokens(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_tokens(WORDS)
    with torch.no_grad():
        model.backbone.transformer.ln_f.weight.mul_(1.1)
    assert mh.check_lm(model, saved("gpt2"), TEXTS[:2]).max_abs_diff > 1e-3


def test_l5_check_lm_with_an_unrelated_vocabulary_is_an_error(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    with pytest.raises(mh.errors.BackboneError, match="vocabularies differ: 96 and 320"):
        mh.check_lm(model, saved("qwen2"), TEXTS[:2])


def test_l5_check_lm_with_a_model_object_of_another_size_is_an_error(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.add_tokens(WORDS)
    plain = plain_model(BY_NAME["gpt2"], saved("gpt2"))
    with pytest.raises(mh.errors.BackboneError, match="with its tokenizer"):
        mh.check_lm(model, plain, TEXTS[:2])
    other = mh.HeadedModel.wrap(plain, tokenizer_for(BY_NAME["gpt2"]))
    assert mh.check_lm(model, other, TEXTS[:2]).new_tokens == len(WORDS)


def test_l5_a_pad_token_without_a_row_is_no_new_token(saved: Saved) -> None:
    """People give GPT-2 one; its language model is the same to the bit."""
    model = mh.HeadedModel.from_pretrained(saved("gpt2"))
    model.tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    check = mh.check_lm(model, saved("gpt2"), TEXTS[:2])
    assert (check.bit_identical, check.new_tokens, check.max_abs_diff) == (True, 0, 0.0)


def test_l5_training_does_not_call_a_extended_model_untouched(saved: Saved) -> None:
    model = headed(saved("bert"), {"urgency": HEADS["urgency"]})
    assert mh.train(model, RECORDS, text="text").lm_check.bit_identical
    with pytest.warns(mh.errors.NewTokensWarning, match="'urgency'"):
        model.add_tokens(WORDS)
    before = snapshot(model.backbone)
    result = mh.train(model, [*RECORDS, {**RECORDS[0], "text": NEW_TEXT}], text="text")
    check = result.lm_check
    assert (check.bit_identical, check.max_abs_diff, check.new_tokens) == (False, None, len(WORDS))
    assert any("3 tokens were added" in note for note in result.notes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.backbone.state_dict().items())


# --- kept ---

FRESH = """
import sys, torch, transformers
torch.set_num_threads(1)  # as here: threads part the sums otherwise
folder, auto, text = sys.argv[1:4]
model = getattr(transformers, auto).from_pretrained(folder).eval()
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
ids = torch.tensor([tokenizer(text)["input_ids"]])
extra = {"decoder_input_ids": ids[:, :3]} if model.config.is_encoder_decoder else {}
with torch.no_grad():
    torch.save([ids, model(ids, **extra).logits], folder + "/fresh.pt")
"""


@over("L5", FAMILIES)
def test_a_extended_model_is_still_a_plain_checkpoint(
    family: Family, extended: Of, saved: Saved, tmp_path: Path
) -> None:
    case = extended(family)
    case.model.save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    inputs = padded(rows_of(family)[:6], "right", family.special_id("pad") or 0)
    inputs["input_ids"][0, 1] = ids_of(case)[0]
    expected = plain_logits(family, case.model.backbone, inputs)
    auto = family.auto_class.from_pretrained(tmp_path / "model").eval()
    for plain in (auto, again.backbone):
        assert torch.equal(plain_logits(family, plain, inputs), expected)
        assert same_objects(plain) == same_objects(case.plain)
    with torch.no_grad():
        found, before = again(**inputs).logits, case.model(**inputs).logits
    assert all(torch.equal(found[name], before[name]) for name in HEADS)
    for tokenizer in (again.tokenizer, transformers.AutoTokenizer.from_pretrained(tmp_path / "model")):
        assert dict(tokenizer([NEW_TEXT, *TEXTS])) == dict(case.model.tokenizer([NEW_TEXT, *TEXTS]))
    old, new = (load_file(folder / "model.safetensors") for folder in (saved(family.name), tmp_path / "model"))
    assert set(old) == set(new)
    assert again.add_tokens(WORDS).known == tuple(WORDS)


@over("L5", FAMILIES)
def test_configs_differ_in_the_vocabularys_size_alone(
    family: Family, extended: Of, saved: Saved, tmp_path: Path
) -> None:
    extended(family).model.save_pretrained(tmp_path / "model")
    old, new = (json.loads((at / "config.json").read_text()) for at in (saved(family.name), tmp_path / "model"))
    assert {key for key in old | new if old.get(key) != new.get(key)} == ({"vocab_size"} - in_spare(family))
    generation = "generation_config.json"
    if (saved(family.name) / generation).exists():
        assert (tmp_path / "model" / generation).read_bytes() == (saved(family.name) / generation).read_bytes()


def in_spare(family: Family) -> set[str]:
    return {"vocab_size"} if family.name in SPARE else set()


@pytest.mark.parametrize("name", ["gpt2", "bert", "bart"])
def test_l5_a_fresh_process_gives_the_same_bits(name: str, extended: Of, tmp_path: Path) -> None:
    family, case = BY_NAME[name], extended(BY_NAME[name])
    case.model.save_pretrained(tmp_path / "model")
    auto = family.auto_class.__name__
    subprocess.run([sys.executable, "-c", FRESH, str(tmp_path / "model"), auto, NEW_TEXT], check=True)
    ids, logits = torch.load(tmp_path / "model" / "fresh.pt")
    assert ids[0].tolist() == case.model.tokenizer(NEW_TEXT)["input_ids"]
    extra = {"decoder_input_ids": ids[:, :3]} if family.encoder_decoder else {}
    with torch.no_grad():
        assert torch.equal(case.model.backbone(ids, **extra).logits, logits)


@over("L5", GENERATING)
def test_generation_works_and_may_say_new_words(family: Family, extended: Of, tmp_path: Path) -> None:
    case = extended(family)
    case.model.save_pretrained(tmp_path / "model")
    again = family.auto_class.from_pretrained(tmp_path / "model").eval()
    prompt = {"input_ids": torch.tensor([case.model.tokenizer(NEW_TEXT)["input_ids"]])}
    prompt["attention_mask"] = torch.ones_like(prompt["input_ids"])
    settings: dict[str, Any] = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    found = case.model.generate(**prompt, **settings)
    assert torch.equal(found, again.generate(**prompt, **settings))
    bias = {(token,): 1e4 for token in ids_of(case)[:1]}
    reported = case.model.generate(**prompt, **settings, sequence_bias=bias)
    assert ids_of(case)[0] in reported[0, -4:].tolist()


def test_l5_a_text_config_inside_a_config_reports_the_new_size(tmp_path: Path) -> None:
    """A checkpoint of several parts keeps the vocabulary's size one level down."""
    from manyheads.checkpoint.save import _with_shapes_of

    old = {"model_type": "two", "text_config": {"vocab_size": 9, "hidden_size": 4}, "dtype": "float32"}
    new = {"model_type": "2", "text_config": {"vocab_size": 12, "hidden_size": 5}, "dtype": "float32", "use_cache": 1}
    expected = {**old, "text_config": {"vocab_size": 12, "hidden_size": 4}}
    assert _with_shapes_of(new, old) == expected


def test_l5_a_reference_cannot_be_saved(extended: Of, tmp_path: Path) -> None:
    with pytest.raises(mh.errors.CheckpointError, match="save it full"):
        extended(BY_NAME["bert"]).model.save_pretrained(tmp_path / "model", backbone="reference")


# --- what was there before ---


@pytest.mark.filterwarnings("ignore::manyheads.errors.NewTokensWarning")
@pytest.mark.parametrize("method", [mh.Fork(top=1, epochs=1), mh.LoRA(r=2, epochs=1)], ids=["fork", "lora"])
@pytest.mark.parametrize("name", ["gpt2", "bert", "t5"])
def test_l5_branches_share_the_new_rows(name: str, method: Any, saved: Saved, tmp_path: Path) -> None:
    family = BY_NAME[name]
    model = headed(saved(name), {"urgency": HEADS["urgency"]})
    mh.train(model, RECORDS, text="text", method=method, eval_fraction=0.1)
    batch = padded(rows_of(family)[:4])
    with torch.no_grad():
        before = model(**batch).logits["urgency"]
        model.add_tokens(WORDS)
        assert torch.equal(model(**batch).logits["urgency"], before)
    (branch,) = model.core.backbone.branches.values()
    embeddings = model.backbone.get_input_embeddings().weight
    for stack in branch.stacks():
        assert stack.get_input_embeddings().weight is embeddings
        assert stack.get_input_embeddings().num_embeddings == len(embeddings)
    found = model.predict([NEW_TEXT]).scores["urgency"]
    model.save_pretrained(tmp_path / "model")
    assert (mh.HeadedModel.from_pretrained(tmp_path / "model").predict([NEW_TEXT]).scores["urgency"] == found).all()
    mh.train(model, [*RECORDS, {**RECORDS[0], "text": NEW_TEXT}], text="text", method=method)


def test_l5_trained_heads_are_warned_of_once_and_stay(saved: Saved, tmp_path: Path) -> None:
    model = headed(saved("bert"), {"words": mh.Multiclass(["yes", "no"], reads=mh.Lexical()), "fresh": HEADS["age"]})
    model.heads["words"].trained = True
    with pytest.warns(mh.errors.NewTokensWarning, match="'words'") as reported:
        model.add_tokens(WORDS)
    assert len(reported) == 1
    assert "'fresh'" not in str(reported[0].message)
    model.heads["fresh"].trained = True
    scores = model.predict([NEW_TEXT, TEXTS[0]]).scores["words"]
    model.save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model")
    assert (again.predict([NEW_TEXT, TEXTS[0]]).scores["words"] == scores).all()


def test_l5_a_lexical_head_trained_afterwards_weighs_the_new_words(saved: Saved) -> None:
    model = headed(saved("bert"), {"yes": mh.Multiclass(["yes", "no"], reads=mh.Lexical())})
    model.add_tokens(WORDS)
    rows = [{"text": f"{text} {WORDS[0] if row % 2 else ''}", "yes": "no" if row % 2 else "yes"}
            for row, text in enumerate(TEXTS * 2)]  # fmt: skip
    mh.train(model, rows, text="text", eval_fraction=0)
    tokens = model.heads["yes"].readers[0].terms // BASE - 1
    assert model.tokenizer.convert_tokens_to_ids(WORDS[0]) in tokens.tolist()
    assert [one["yes"].label for one in model.predict([f"pain {WORDS[0]}", "pain"])] == ["no", "yes"]


def test_l5_a_pooler_beside_the_backbone_is_kept(tmp_path: Path) -> None:
    from tests.laws.test_reading import save_with_pooler

    folder = save_with_pooler(BY_NAME["bert"], tmp_path / "source")
    model = headed(folder, {"urgency": mh.Multiclass(["a", "b"], reads=mh.Hidden(pool="pooler"))})
    model.add_tokens(WORDS)
    row = torch.tensor([model.tokenizer(NEW_TEXT)["input_ids"]])
    model.save_pretrained(tmp_path / "model")
    with torch.no_grad():
        expected = model(row).logits["urgency"]
        assert torch.equal(mh.HeadedModel.from_pretrained(tmp_path / "model")(row).logits["urgency"], expected)


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_l5_a_backbone_without_a_language_model(name: str) -> None:
    family = BY_NAME[name]
    model = mh.HeadedModel.wrap(family.build().base_model, tokenizer_for(family))
    old = model.backbone.get_input_embeddings().weight.detach().clone()
    assert model.lm is None
    model.add_tokens(WORDS)
    assert torch.equal(model.backbone.get_input_embeddings().weight[: len(old)], old)


def test_l5_in_bf16(saved: Saved) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gptj"), dtype=torch.bfloat16)
    old = model.tokenizer(WORDS[0], add_special_tokens=False)["input_ids"]
    model.add_tokens(WORDS)
    token = model.tokenizer.convert_tokens_to_ids(WORDS[0])
    for module in (model.backbone.get_input_embeddings(), model.backbone.get_output_embeddings()):
        for tensor in module.parameters():
            assert tensor.dtype == torch.bfloat16
            assert torch.equal(tensor[token], tensor[old].float().mean(0).to(torch.bfloat16))


def test_l5_words_are_learned_in_tuning(saved: Saved) -> None:
    """The new rows take part: after full tuning with the LM's own loss the extended word's row has moved."""
    model = headed(saved("gpt2"), {"urgency": HEADS["urgency"]})
    model.add_tokens(WORDS)
    token = model.tokenizer.convert_tokens_to_ids(WORDS[0])
    before = model.backbone.get_input_embeddings().weight[token].detach().clone()
    rows = [{**row, "text": f"{row['text']} {WORDS[0]}"} for row in RECORDS]
    result = mh.train(model, rows, text="text", method=mh.Full(epochs=1, lm_weight=0.5, lr=1e-3))
    assert (model.backbone.get_input_embeddings().weight[token] - before).abs().max() > 1e-4
    assert result.lm_check.new_tokens == len(WORDS)


def test_l5_nothing_to_learn_changes_nothing(saved: Saved, tmp_path: Path) -> None:
    model = headed(saved("bert"))
    before, size = snapshot(model.backbone), len(model.tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.add_tokens([]).words == ()
        added = model.add_tokens(["chest", "Chest"])
    assert (added.words, added.known, added.vocabulary_after) == ((), ("chest", "Chest"), size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.backbone.state_dict().items())
    model.save_pretrained(tmp_path / "model", backbone="reference")


@pytest.mark.filterwarnings("ignore::manyheads.errors.NewTokensWarning")
@pytest.mark.parametrize("name", ["gpt2", "gptj", "bert"])
def test_l5_heads_on_the_lm_heads_output_read_the_tokens_they_read_before(
    name: str, saved: Saved, tmp_path: Path
) -> None:
    labels = ["routine", "urgent", "emergency"]
    reads = {"all": mh.LMLogits(), "few": mh.LMLogits(top_k=5)}
    model = headed(
        saved(name), {head: mh.Multiclass(labels, reads=tap, column="urgency") for head, tap in reads.items()}
    )
    mh.train(model, RECORDS, text="text")
    before = model.predict(TEXTS)
    model.add_tokens(WORDS)
    after = model.predict(TEXTS)
    for head in reads:
        assert (after.logits[head] == before.logits[head]).all()
    model.save_pretrained(tmp_path / "model")
    again = mh.HeadedModel.from_pretrained(tmp_path / "model").predict([NEW_TEXT, *TEXTS])
    expected = model.predict([NEW_TEXT, *TEXTS])
    assert all((again.logits[head] == expected.logits[head]).all() for head in reads)
    for method in (mh.Frozen(), mh.Fork(top=1, epochs=1)):
        mh.train(model, [*RECORDS, {**RECORDS[0], "text": NEW_TEXT}], text="text", method=method)
    assert all(model.predict([NEW_TEXT]).logits[head].shape == (1, 3) for head in reads)
