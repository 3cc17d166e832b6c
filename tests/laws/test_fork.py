"""The fork: only heads read it, so the language model cannot change; it is trained on what enters it, read once."""

from __future__ import annotations

import copy
import functools
import itertools
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn

import manyheads as mh
from manyheads.backbone.backbone import Backbone
from manyheads.backbone.branches.branches import build_fork
from manyheads.backbone.branches.fork import ForkBranch
from manyheads.backbone.stack.find import find_blocks
from manyheads.backbone.stack.right_padding import right_pad
from manyheads.checkpoint.format import HEADS_JSON, HEADS_WEIGHTS
from manyheads.core import HeadedCore
from manyheads.features import FeatureSource
from manyheads.features.table import PieceTable
from manyheads.taps import Branched
from manyheads.taps.token_states import TokenStates
from manyheads.types import Batch, Features, Request, States
from tests.families import BY_NAME, FAMILIES, HIDDEN, LAYERS, TEXTS, Family, tokenizer_for
from tests.laws.oracle import (
    HAND_POOLS,
    RECORDS,
    add_heads,
    changed,
    decoder_inputs,
    default_pool,
    different_texts,
    headed,
    over,
    padded,
    plain_logits,
    plain_model,
    rows_of,
    snapshot,
)
from tests.laws.test_keeping import assert_rejected, put, rewrite_json, rewrite_weights, say
from tests.unit.features.test_precision import with_pooler_beside

Saved = Callable[[str], Path]
Models = Callable[[Family], mh.HeadedModel]

pytestmark = pytest.mark.filterwarnings("ignore:.*pin_memory.*")

# What cannot be forked, and words of the error message.
UNFORKABLE = {"albert": r"3 layers are no list of blocks of one class \(they may share one\)"}
FORKABLE = tuple(family for family in FAMILIES if family.name not in UNFORKABLE)
# Where the blocks are, and what a forward first calls after them, inside the stack that heads read. Families that are
# not named have their blocks in "layers" and nothing that follows.
BLOCKS = {
    "gpt2": "h", "gptj": "h", "bloom": "h", "bert": "encoder.layer", "roberta": "encoder.layer",
    "xlm_roberta": "encoder.layer", "deberta_v2": "encoder.layer", "electra": "encoder.layer",
    "distilbert": "transformer.layer", "t5": "block",
}  # fmt: skip
FOLLOWING = {
    "gpt2": "ln_f", "gptj": "ln_f", "bloom": "ln_f", "gpt_neox": "final_layer_norm", "opt": "final_layer_norm",
    "llama": "norm", "mistral": "norm", "qwen2": "norm", "qwen3": "norm", "gemma3": "norm", "mamba": "norm_f",
    "modernbert": "final_norm", "t5": "final_layer_norm",
}  # fmt: skip
# Their lowest block also makes what all others read (a position bias), so it runs, and what it makes is not used.
LOWEST_RUNS = {"t5"}

FORKED = {
    "urgency": mh.Multiclass(labels=["routine", "urgent", "emergency"]),
    "symptoms": mh.MultiLabel(labels=["pain", "fever", "cough"], reads=mh.Hidden(layer=-2, pool="mean"), hidden=[8]),
    "age": mh.Regression(reads=mh.Hidden(pool="attention")),
}
BESIDE = {
    "where": mh.Multiclass(labels=["chest", "arm"]),
    "sent": mh.Multiclass(labels=["yes", "no"], reads=[mh.Hidden(), mh.Hidden(layer=-2, pool="mean")]),
}
DATA = [{**record, "age": len(str(record["text"])) / 40} for record in RECORDS]
STEPS = 12
TWELVE_STEPS = mh.Fork(top=2, epochs=4, lr=3e-3, head_lr=1e-2, weight_decay=0.1, batch_rows=8, start="random")


def train(model: mh.HeadedModel, method: mh.Fork = TWELVE_STEPS, **settings: Any) -> Any:
    return mh.train(model, DATA, "text", method, **{"eval_fraction": 0, "heads": list(FORKED), **settings})


def wrapped(family: str, heads: Mapping[str, Any], still: bool = False, **build: Any) -> mh.HeadedModel:
    """Return a model in memory; ``still`` without any dropout, so that two ways to train can be compared."""
    model = mh.HeadedModel.wrap(BY_NAME[family].build(**build), tokenizer_for(BY_NAME[family]))
    add_heads(model, dict(heads))
    for module in model.modules() if still else ():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model.eval()


def logits(model: mh.HeadedModel, batch: Mapping[str, Tensor], **extra: Any) -> dict[str, Tensor]:
    with torch.no_grad():
        return dict(model(**batch, **extra).logits)


def fork_of(model: mh.HeadedModel, name: str = "fork") -> ForkBranch:
    fork = model.core.backbone.branches.named(name)
    assert isinstance(fork, ForkBranch)
    return fork


def branches_read(model: mh.HeadedModel) -> dict[str, list[str | None]]:
    """Return, for each head, which branch each of its taps reads."""
    return {
        name: [tap.branch if isinstance(tap, Branched) else None for tap in head.taps]
        for name, head in model.heads.items()
    }


def layouts(family: Family) -> dict[str, dict[str, Tensor]]:
    """Return batches of every shape: padding on each side, mixed lengths, rows of one token."""
    rows, pad = rows_of(family), family.special_id("pad") or 0
    one = [row[:1] for row in rows[:3]]
    return {
        "right": padded(rows[:6], "right", pad),
        "left": padded(rows[:6], "left", pad),
        "inside": padded(rows[:6], "inside", pad),
        "mixed": padded([rows[6], rows[7], *one, rows[1]], "left", pad),
        "one token": {"input_ids": torch.stack(one), "attention_mask": torch.ones(3, 1, dtype=torch.int64)},
        "unpadded": {"input_ids": rows[6][None], "attention_mask": torch.ones_like(rows[6])[None]},
    }


# Family -> how often each block ran, in each step of the training below.
RAN_IN_STEPS: dict[str, list[Counter[str]]] = {}


@pytest.fixture(scope="module")
def forked(saved: Saved) -> Models:
    """Return the family after twelve steps of Fork for three of its five heads; tests must not change it."""

    @functools.cache
    def model_of(family: Family) -> mh.HeadedModel:
        model = headed(saved(family.name), {**FORKED, **BESIDE})
        with calls_in_steps(type(model.core.backbone.blocks()[0])) as steps:
            result = train(model)
        RAN_IN_STEPS[family.name] = [ran(model, called) for called in steps]
        assert any("token states, read once" in note for note in result.notes)
        assert result.chosen["urgency"]["steps"] == STEPS
        assert result.lm_check.bit_identical
        return model

    return model_of


# --- L1 to L4: the language model is untouched ----------------------------------------------------


def fresh_plain(family: Family, folder: Path) -> transformers.PreTrainedModel:
    return family.auto_class.from_pretrained(folder).eval()


@over("L1", FORKABLE)
def test_logits_after_fork_training(family: Family, saved: Saved, forked: Models) -> None:
    plain, model = plain_model(family, saved(family.name)), forked(family)
    for way in ("right", "left", "one token"):
        batch = layouts(family)[way]
        assert torch.equal(plain_logits(family, model.backbone, batch), plain_logits(family, plain, batch))
    row = layouts(family)["unpadded"]
    with torch.no_grad():
        beside = model(**row, **decoder_inputs(family, 1), lm=True)
    assert torch.equal(beside.lm_logits, plain_logits(family, plain, row))
    assert set(beside.logits) == {*FORKED, *BESIDE}
    assert torch.equal(plain_logits(family, model.backbone, row), plain_logits(family, plain, row))


@over("L1", FORKABLE)
def test_logits_of_a_forward_equal_each_row_alone(family: Family, saved: Saved, forked: Models) -> None:
    batch = layouts(family)["left"]
    with torch.no_grad():
        found = forked(family)(**batch, **decoder_inputs(family, 6), lm=True).lm_logits
    for index, row in enumerate(rows_of(family)[:6]):
        alone = plain_logits(family, plain_model(family, saved(family.name)), {"input_ids": row[None]})[0]
        mine = found[index] if family.encoder_decoder else found[index][batch["attention_mask"][index].bool()]
        torch.testing.assert_close(mine, alone, rtol=0, atol=1e-5)


@over("L2", [family for family in FORKABLE if family.generates])
def test_the_same_tokens_are_generated(family: Family, saved: Saved, forked: Models) -> None:
    plain, model = plain_model(family, saved(family.name)), forked(family)
    prompts = padded(rows_of(family)[:4], "left", family.special_id("pad") or 0)
    settings = {"do_sample": False, "max_new_tokens": 6, "min_new_tokens": 6, "pad_token_id": 0}
    found, expected = model.generate(**prompts, **settings), plain.generate(**prompts, **settings)
    assert torch.equal(found, expected)
    assert torch.equal(model.backbone.generate(**prompts, **settings), expected)


@over("L3", FORKABLE)
def test_files_and_what_loads_from_them(family: Family, saved: Saved, forked: Models, tmp_path: Path) -> None:
    source, folder = saved(family.name), tmp_path / "model"
    forked(family).save_pretrained(folder)
    names = {path.name for path in source.iterdir()}
    assert {"config.json", "model.safetensors"} <= names
    assert ("generation_config.json" in names) == family.generates
    for name in names:
        assert (folder / name).read_bytes() == (source / name).read_bytes(), name
    assert {path.name for path in folder.iterdir()} - names == {"README.md", HEADS_JSON, HEADS_WEIGHTS}
    batch, again = layouts(family)["right"], mh.HeadedModel.from_pretrained(folder)
    expected = plain_logits(family, plain_model(family, source), batch)
    assert torch.equal(plain_logits(family, again.backbone, batch), expected)
    assert torch.equal(plain_logits(family, fresh_plain(family, folder), batch), expected)


@over("L4", FORKABLE)
def test_no_backbone_tensor_moves_and_what_is_forked_does(family: Family, saved: Saved, forked: Models) -> None:
    model, plain = forked(family), plain_model(family, saved(family.name))
    assert changed(model.backbone, snapshot(plain)) == []
    untrained = build_fork(Backbone(plain).trunk, 2).trainable_parameters()
    trained = fork_of(model).trainable_parameters()
    assert list(trained) == list(untrained)
    # A fork that heads read at -1 alone leaves nothing of itself unread, but for a pooler.
    same = [name for name, tensor in trained.items() if torch.equal(tensor, untrained[name])]
    assert same == []
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert [name for name, module in model.named_modules() if module.training] == []


def test_l4_tied_weights_stay_tied_and_still(saved: Saved, forked: Models) -> None:
    model = forked(BY_NAME["gpt2"])
    stack = fork_of(model).stack
    assert model.backbone.lm_head.weight is model.backbone.transformer.wte.weight is stack.wte.weight
    old = load_file(saved("gpt2") / "model.safetensors")
    assert torch.equal(model.backbone.lm_head.weight, old["transformer.wte.weight"])


@pytest.mark.parametrize("family", ["gpt2", "bert", "t5"])
def test_l4_modes_and_switches_are_as_they_were(family: str) -> None:
    model = wrapped(family, FORKED)
    model.train()
    lowest = find_blocks(model.core.backbone.stack, LAYERS)[0].eval()
    model.backbone.requires_grad_(False)
    switch = next(iter(model.backbone.parameters())).requires_grad_(True)
    modes = {name: module.training for name, module in model.named_modules()}
    train(model, replace(TWELVE_STEPS, epochs=1))
    now = dict(model.named_modules())
    assert {name: now[name].training for name in modes if name in now} == modes
    assert {parameter for parameter in model.backbone.parameters() if parameter.requires_grad} == {switch}
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for head in model.heads.values() for parameter in head.parameters())
    assert not any(module.training for module in lowest.modules())


# --- what a fork is -------------------------------------------------------------------------------


def fork_prefixes(family: Family, top: int) -> tuple[str, ...]:
    blocks = [f"{BLOCKS.get(family.name, 'layers')}.{number}." for number in range(LAYERS - top, LAYERS)]
    return (*blocks, *([f"{FOLLOWING[family.name]}."] if family.name in FOLLOWING else []))


@pytest.mark.parametrize("top", [1, 2, 3])
@over("fork", FORKABLE)
def test_it_copies_the_top_blocks_and_what_follows_and_shares_the_rest(family: Family, top: int) -> None:
    backbone = Backbone(family.build())
    fork = build_fork(backbone.trunk, top)
    names = [name for name, _ in backbone.stack.named_parameters() if name.startswith(fork_prefixes(family, top))]
    assert list(fork.trainable_parameters()) == names
    theirs, mine = dict(backbone.stack.named_parameters()), dict(fork.stack.named_parameters())
    assert {name for name in theirs if mine[name] is theirs[name]} == set(theirs) - set(names)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    places = {tensor.data_ptr() for tensor in backbone.parameters()}
    assert not any(parameter.data_ptr() in places for parameter in fork.trainable_parameters().values())
    if fork.upper is not None:
        again = dict(fork.upper.named_parameters())
        assert all(again[name] is mine[name] for name in mine)
    assert (fork.upper is None) == (top == LAYERS)


@over("fork", [BY_NAME[name] for name in UNFORKABLE])
def test_what_cannot_be_forked_reports_it_and_nothing_changes(family: Family) -> None:
    model = wrapped(family.name, FORKED)
    before, taps = snapshot(model), {name: head.taps for name, head in model.heads.items()}
    with pytest.raises(mh.errors.BackboneError, match=UNFORKABLE[family.name]):
        train(model)
    assert changed(model, before) == []
    assert {name: head.taps for name, head in model.heads.items()} == taps


@pytest.mark.parametrize("top", [4, 10**6])
def test_more_blocks_than_there_are(top: int) -> None:
    model = wrapped("gpt2", FORKED)
    with pytest.raises(mh.errors.BackboneError, match=f"has 3 blocks, so there are no top {top}"):
        train(model, mh.Fork(top=top))
    assert not model.core.backbone.branches


def test_a_head_that_reads_no_states_has_nothing_to_fork() -> None:
    model = wrapped("bert", {**FORKED, "words": mh.Multiclass(labels=["yes", "no"], column="sent", reads=mh.Lexical())})
    with pytest.raises(mh.errors.MethodError, match="Head 'words': reads no hidden states"):
        train(model, heads=None)


@pytest.mark.parametrize(
    ("settings", "reported"),
    [
        ({"top": 0}, "top must be a positive whole number"),
        ({"top": True}, "top must be a positive whole number"),
        ({"top": None}, "top must be a positive whole number"),
        ({"layer_decay": 0}, "layer_decay must be"),
        ({"lr": -1}, "lr must be"),
        ({"weighting": "best"}, "weighting must be one of"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"patience": 0}, "patience must be a positive"),
        ({"best_by": {}}, "best_by must weigh"),
        ({"best_by": {"urgency": 0}}, "best_by must weigh"),
        ({"best_by": {"urgency": "1"}}, "best_by must weigh"),
    ],
)
def test_a_setting_out_of_range_is_rejected(settings: dict[str, Any], reported: str) -> None:
    with pytest.raises(mh.errors.MethodError, match=f"Fork: {reported}"):
        mh.Fork(**settings)


# --- from the entry as from the token ids ---------------------------------------------------------


def moved(fork: ForkBranch, seed: int = 3) -> ForkBranch:
    """Give what a fork trains other values, as training does."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in fork.trainable_parameters().values():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return fork


def both_ways(
    backbone: Backbone, fork: ForkBranch, batch: Mapping[str, Tensor], request: Request
) -> tuple[States, States]:
    arranged = right_pad(Batch(**batch))
    with torch.no_grad():
        known = backbone(Batch(**batch), Request(fork.entry_layers(request)))[0].hidden
        return fork(arranged, request), fork.resume_from_states(arranged, request, known)


def assert_same_states(one: States, other: States) -> None:
    assert set(one.hidden) == set(other.hidden)
    for layer, states in one.hidden.items():
        assert torch.equal(states[one.mask], other.hidden[layer][one.mask]), layer
    assert (one.pooled is None) == (other.pooled is None)
    assert one.pooled is None or torch.equal(one.pooled, other.pooled)


@pytest.mark.parametrize("top", [1, 2])
@over("fork", FORKABLE)
def test_entered_it_computes_what_it_computes_whole(family: Family, top: int) -> None:
    backbone = Backbone(family.build()).eval()
    fork = moved(build_fork(backbone.trunk, top)).eval()
    every = frozenset(range(-len(backbone.facts.widths), 0))
    for batch in layouts(family).values():
        for layers in (frozenset({-1}), every):
            one, other = both_ways(backbone, fork, batch, Request(layers))
            assert_same_states(one, other)
        # And it is a fork: above the entry nothing is the backbone's, and below nothing is another's.
        with torch.no_grad():
            trunk = backbone(Batch(**batch), Request(every))[0].hidden
        same = {layer for layer in every if torch.equal(trunk[layer][one.mask], one.hidden[layer][one.mask])}
        assert same == {layer for layer in every if layer <= fork.entry}


@pytest.mark.parametrize("where", ["in the class", "beside"])
def test_a_pooler_is_forked_too(where: str) -> None:
    backbone = Backbone(BY_NAME["bert"].build(model_class="BertModel")) if where != "beside" else with_pooler_beside()
    before = snapshot(backbone)
    fork = moved(build_fork(backbone.eval().trunk, 1)).eval()
    prefix = "pooler." if where == "in the class" else "pooler_beside."
    mine = [name for name in fork.trainable_parameters() if name.startswith(prefix)]
    assert [name.rpartition(".")[2] for name in mine] == ["weight", "bias"]
    for batch in layouts(BY_NAME["bert"]).values():
        request = Request(frozenset({-1}), pooled=True)
        one, other = both_ways(backbone, fork, batch, request)
        assert_same_states(one, other)
        with torch.no_grad():
            assert not torch.equal(one.pooled, backbone(Batch(**batch), request)[0].pooled)
    assert changed(backbone, before) == []


@over("fork", FORKABLE)
def test_the_heads_see_the_same_beside_the_lm_and_without_it(family: Family, forked: Models) -> None:
    """Without anything else to run the fork runs whole; beside the LM it goes on from the LM's own pass."""
    model = forked(family)
    for batch in (layouts(family)[way] for way in ("left", "mixed", "one token")):
        alone = logits(model, batch, heads=list(FORKED))
        beside = logits(model, batch, **decoder_inputs(family, len(batch["input_ids"])), lm=True)
        for name in FORKED:
            assert torch.equal(alone[name], beside[name]), name
        assert all(torch.equal(values, beside[name]) for name, values in logits(model, batch).items())


@over("L6", FORKABLE)
def test_a_row_alone_is_the_row_in_any_batch(family: Family, forked: Models) -> None:
    model, rows = forked(family), rows_of(family)[:6]
    alone = [logits(model, {"input_ids": row[None]}) for row in rows]
    for side in ("right", "left", "inside"):
        for name, values in logits(model, layouts(family)[side]).items():
            torch.testing.assert_close(values, torch.cat([row[name] for row in alone]), rtol=0, atol=1e-5)


def test_l6_predictions_alone_and_together(forked: Models) -> None:
    for family in ("gpt2", "bert", "t5"):
        model = forked(BY_NAME[family])
        together = model.predict(TEXTS, heads=list(FORKED))
        for row, text in enumerate(TEXTS):
            alone = model.predict([text], heads=list(FORKED))
            for name in FORKED:
                np.testing.assert_allclose(alone.logits[name][0], together.logits[name][row], atol=1e-5, rtol=0)


# --- against training by hand ---------------------------------------------------------------------

LABELS = {"urgency": torch.tensor([0, 1, 2, 0, 1, -100]), "age": torch.tensor([0.6, 0.1, float("nan"), 0.3, 0.7, 0.2])}


def two_heads(family: Family) -> dict[str, Any]:
    pool = default_pool(family)
    return {
        "urgency": mh.Multiclass(labels=["routine", "urgent", "emergency"], reads=mh.Hidden(pool=pool)),
        "age": mh.Regression(reads=mh.Hidden(layer=-2, pool="mean"), loss_weight=0.5),
    }


def inner_stack(backbone: nn.Module) -> nn.Module:
    """Return the module that holds the blocks and takes token ids, found by hand."""
    if backbone.config.is_encoder_decoder:
        return backbone.get_encoder()
    return backbone.model.decoder if backbone.config.model_type == "opt" else backbone.base_model


def hand_loss(family: Family, stack: nn.Module, heads: nn.ModuleDict, batch: Any, labels: Any) -> Tensor:
    """Return the joint loss, row by row and without padding, with nothing of manyheads."""
    pool = HAND_POOLS[default_pool(family)]
    last, middle = [], []
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        output = stack(input_ids=ids[mask.bool()][None], output_hidden_states=True)
        last.append(pool(output.last_hidden_state[0]))
        middle.append(output.hidden_states[-2][0].mean(dim=0))
    urgency = nn.functional.cross_entropy(heads["urgency"](torch.stack(last)), labels["urgency"], ignore_index=-100)
    known = ~labels["age"].isnan()
    age = nn.functional.mse_loss(heads["age"](torch.stack(middle))[known, 0], labels["age"][known])
    return urgency + 0.5 * age


def thawed(family: Family, backbone: nn.Module, top: int) -> tuple[nn.Module, dict[str, nn.Parameter]]:
    """Return a copy of the stack of which only the top blocks and what follows them want gradients."""
    stack = inner_stack(copy.deepcopy(backbone))
    for name, parameter in stack.named_parameters():
        parameter.requires_grad_(name.startswith(fork_prefixes(family, top)))
    return stack, {name: parameter for name, parameter in stack.named_parameters() if parameter.requires_grad}


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().norm() / expected.detach().norm().clamp(min=1e-12))


@pytest.mark.parametrize("kept", ["float32", "bfloat16"])
@over("fork", FORKABLE)
def test_its_gradients_are_those_of_a_thawed_copy(family: Family, kept: str) -> None:
    """Only what enters the fork is rounded: kept in fp32 the gradient is exact, in bf16 it is as near as the same
    rounding of the copy's own states."""
    model = wrapped(family.name, two_heads(family))
    batch = layouts(family)["right"]
    core, pad = model.core, right_pad(Batch(**layouts(family)["right"])).batch
    stack, theirs = thawed(family, model.backbone, 2)
    reference = nn.ModuleDict({name: copy.deepcopy(head.output) for name, head in model.heads.items()})
    fork = build_fork(core.backbone.trunk, 2).eval()
    model.backbone.requires_grad_(False)
    core.backbone.branches["fork"] = fork
    for head in model.heads.values():
        head.taps = tuple(Branched("fork", tap) for tap in head.taps)
    with torch.no_grad():
        entry = core.read(pad, [tap := TokenStates(fork.entry)])[0][tap]
        exact = core.backbone(pad, Request(frozenset({fork.entry})))[0].hidden[fork.entry]
    assert entry.values.dtype == torch.bfloat16
    torch.testing.assert_close(entry.values.float(), exact, rtol=2**-8, atol=0)
    given = exact if kept == "float32" else entry.values.float()
    if kept == "bfloat16":  # the same rounding, by a hook on the copy's own first thawed block

        def rounded(_: nn.Module, args: Any, kwargs: Any) -> Any:
            if args:
                return (args[0].bfloat16().float(), *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": kwargs["hidden_states"].bfloat16().float()}

        stack.get_submodule(fork_prefixes(family, 2)[0][:-1]).register_forward_pre_hook(rounded, with_kwargs=True)
    loss = core.resume_from_states(pad, "fork", given, LABELS, None).loss
    loss.backward()
    expected = hand_loss(family, stack, reference, batch, LABELS)
    expected.backward()
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    # A rounding that falls the other way moves a number by 1/256; a few of them do, since rows alone differ by 1e-7.
    tolerance = 2e-5 if kept == "float32" else 2e-3
    mine = fork.trainable_parameters()
    assert list(mine) == list(theirs)
    # A key's bias moves no attention weight: its gradient is rounding.
    told = {name for name, parameter in theirs.items() if float(parameter.grad.norm()) > 1e-6}
    assert len(told) > 0.8 * len(theirs)
    assert [name for name in told if relative(mine[name].grad, theirs[name].grad) > tolerance] == []
    assert all(float(mine[name].grad.norm()) < 1e-6 for name in set(theirs) - told)
    for name, head in model.heads.items():
        assert relative(head.output.weight.grad, reference[name].weight.grad) < tolerance
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


def plain_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tuning step by plain gradient descent at each group's own rate."""

    def descent(groups: list[dict[str, Any]], lr: float, fused: bool) -> torch.optim.Optimizer:
        return torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups], lr=lr)

    monkeypatch.setattr("manyheads.training.tuning.run.torch.optim.AdamW", descent)


def in_order(folder: Path, batch: int, **settings: Any) -> transformers.TrainingArguments:
    return transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=batch, max_grad_norm=0.0, report_to=[], disable_tqdm=True,
        save_strategy="no", logging_strategy="no", use_cpu=True, lr_scheduler_type="constant", num_train_epochs=1,
        train_sampling_strategy="sequential", dataloader_pin_memory=False, **settings,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kept"), [*((name, "float32") for name in ("gpt2", "bert", "t5")), ("llama", "bfloat16"), ("gpt2", "live")]
)
def test_training_is_that_of_a_thawed_copy(
    name: str, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps of the whole machinery against a loop of a few lines that runs every block, live."""
    family, rate, head_rate = BY_NAME[name], 0.05, 0.02
    model = wrapped(name, two_heads(family), still=True)
    stack, theirs = thawed(family, model.backbone, 2)
    before = {key: parameter.detach().clone() for key, parameter in theirs.items()}
    reference = nn.ModuleDict({key: copy.deepcopy(head.output) for key, head in model.heads.items()})

    plain_descent(monkeypatch)
    monkeypatch.setattr(
        "manyheads.training.tuning.run.start_heads", lambda *_: None
    )  # the heads' weights are drawn already
    cache: str | None = "auto"
    if kept == "float32":
        monkeypatch.setattr(TokenStates, "read", lambda tap, states: Features(states.hidden[tap.layer], states.mask))
    if kept == "live":
        monkeypatch.setattr("manyheads.training.tuning.fork._HELD_BYTES", 0)
        cache = None
    method = mh.Fork(
        top=2,
        lr=rate,
        head_lr=head_rate,
        tuned_share=1,
        frozen_share=0,
        cache=cache,
        trainer=in_order(tmp_path, 8),
    )
    result = mh.train(model, DATA, "text", method, eval_fraction=0)
    assert ("ran in every epoch" in result.notes[-1]) == (kept == "live")

    descent = torch.optim.SGD(
        [{"params": list(theirs.values()), "lr": rate}, {"params": list(reference.parameters()), "lr": head_rate}]
    )
    for start in range(0, len(DATA), 8):
        rows = DATA[start : start + 8]
        batch = padded([torch.tensor(model.tokenizer(row["text"])["input_ids"]) for row in rows])
        places = [model.heads["urgency"].spec.labels.index(row["urgency"]) for row in rows]
        labels = {"urgency": torch.tensor(places), "age": torch.tensor([float(row["age"]) for row in rows])}
        descent.zero_grad()
        hand_loss(family, stack.eval(), reference, batch, labels).backward()
        descent.step()

    mine = fork_of(model).trainable_parameters()
    tolerance = 0.02 if kept == "bfloat16" else 2e-4
    for key, parameter in theirs.items():
        if float((parameter - before[key]).detach().norm()) > 1e-6:
            assert relative(mine[key] - before[key], parameter - before[key]) < tolerance, key
    for key, head in model.heads.items():
        assert relative(head.output.weight, reference[key].weight) < tolerance


def test_lower_blocks_of_a_fork_learn_slower_by_the_layer_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr("manyheads.training.tuning.run.start_heads", lambda *_: None)
    steps = torch.optim.AdamW

    def watched(groups: list[dict[str, Any]], **settings: Any) -> torch.optim.Optimizer:
        seen.extend({**group, "params": list(group["params"])} for group in groups)
        return steps(groups, **settings)

    monkeypatch.setattr("manyheads.training.tuning.run.torch.optim.AdamW", watched)
    model = wrapped("gpt2", FORKED)
    train(model, mh.Fork(top=2, epochs=1, lr=1e-3, head_lr=2e-3, layer_decay=0.5, weight_decay=0.1, frozen_share=0))
    rates = {parameter: (group["lr"], group["weight_decay"]) for group in seen for parameter in group["params"]}
    for name, parameter in fork_of(model).trainable_parameters().items():
        expected = 5e-4 if name.startswith("h.1.") else 1e-3
        assert rates.pop(parameter) == (expected, 0.1 if parameter.dim() > 1 else 0.0)
    for parameter in (parameter for head in model.heads.values() for parameter in head.parameters()):
        assert rates.pop(parameter) == (2e-3, 0.1 if parameter.dim() > 1 else 0.0)
    assert rates == {}


# --- L14: what does not train does not move -------------------------------------------------------


@over("L14", FORKABLE)
def test_other_heads_are_left_alone(family: Family, saved: Saved, forked: Models) -> None:
    model, untouched = forked(family), headed(saved(family.name), {**FORKED, **BESIDE})
    for name in BESIDE:
        assert changed(model.heads[name], snapshot(untouched.heads[name])) == []
        assert model.heads[name].taps == untouched.heads[name].taps
        assert not model.heads[name].trained
    for name in FORKED:
        assert changed(model.heads[name], snapshot(untouched.heads[name])) == sorted(snapshot(model.heads[name]))
        assert model.heads[name].trained
    assert branches_read(model) == {
        "urgency": ["fork"], "symptoms": ["fork"], "age": ["fork"], "where": [None], "sent": [None, None]
    }  # fmt: skip


def test_l14_a_head_without_labels_in_a_step_does_not_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrapped("bert", FORKED)
    data = [{**row, "age": row["age"] if 8 <= number < 16 else None} for number, row in enumerate(DATA)]
    moments: list[dict[str, Tensor]] = []
    step = mh.Trainer.training_step
    monkeypatch.setattr(
        mh.Trainer, "training_step", lambda *given: [moments.append(snapshot(model.heads["age"])), step(*given)][1]
    )
    method = mh.Fork(head_lr=1e-2, weight_decay=0.1, start="random", trainer=in_order(tmp_path, 8))
    mh.train(model, data, "text", method, eval_fraction=0)
    moments.append(snapshot(model.heads["age"]))
    moves = [any(not torch.equal(one[key], other[key]) for key in one) for one, other in itertools.pairwise(moments)]
    assert moves == [False, True, False]


def test_dropout_is_at_work_in_the_fork_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrapped("bert", FORKED)
    modes: list[dict[str, bool]] = []
    step = mh.Trainer.compute_loss

    def look(run: Any, *given: Any, **named: Any) -> Any:
        modes.append({name: module.training for name, module in model.core.backbone.named_modules()})
        return step(run, *given, **named)

    monkeypatch.setattr(mh.Trainer, "compute_loss", look)
    train(model, replace(TWELVE_STEPS, epochs=1))
    blocks = tuple(f"branches.fork.{way}.encoder.layer.{place}" for way in ("stack", "upper") for place in (1, 2))
    for seen in modes:
        assert {name for name, training in seen.items() if training} == {
            name for name in seen if any(name == block or name.startswith(f"{block}.") for block in blocks)
        }


# --- L19: round trip ------------------------------------------------------------------------------

FRESH_PROCESS = """
import json, sys
import torch

torch.set_num_threads(1)  # as in the process that it is compared with: threads decide the last bits
import manyheads as mh
from tests.laws.test_fork import branches_read, layouts, logits, sizes
from tests.families import BY_NAME

told = {}
for folder in sys.argv[2:]:
    name = folder.rpartition("/")[2]
    model = mh.HeadedModel.from_pretrained(folder)
    told[name] = {
        "logits": {way: {head: values.numpy().tobytes().hex() for head, values in logits(model, batch).items()}
                   for way, batch in layouts(BY_NAME[name]).items()},
        "sizes": sizes(model),
        "branches": branches_read(model),
        "training": any(module.training for module in model.modules()),
    }
open(sys.argv[1], "w").write(json.dumps(told))
"""


def sizes(model: mh.HeadedModel) -> dict[str, int]:
    parts = {"all": model, "backbone": model.backbone, **model.heads}
    return {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in parts.items()}


@pytest.fixture(scope="module")
def told(forked: Models, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one fresh process shows of every family that it loads."""
    root = tmp_path_factory.mktemp("kept")
    for family in FORKABLE:
        forked(family).save_pretrained(root / family.name)
    command = [sys.executable, "-W", "error", "-c", FRESH_PROCESS, str(root / "told.json")]
    folders = [str(root / family.name) for family in FORKABLE]
    subprocess.run([*command, *folders], check=True, cwd=Path(__file__).parents[2])
    answer: dict[str, Any] = json.loads((root / "told.json").read_text())
    return answer


@over("L19", FORKABLE)
def test_a_fresh_process_gets_the_same_model(family: Family, forked: Models, told: dict[str, Any]) -> None:
    model, found = forked(family), told[family.name]
    for way, batch in layouts(family).items():
        for name, values in logits(model, batch).items():
            assert found["logits"][way][name] == values.numpy().tobytes().hex(), (way, name)
    own = sum(parameter.numel() for parameter in fork_of(model).trainable_parameters().values())
    parts = sizes(model)
    assert found["sizes"] == parts
    assert parts["all"] == parts["backbone"] + own + sum(parts[name] for name in model.heads)
    assert found["branches"] == branches_read(model)
    assert found["training"] is False


@pytest.fixture(scope="module")
def bert(forked: Models) -> mh.HeadedModel:
    """BERT after the training above; tests must not change it."""
    return forked(BY_NAME["bert"])


def test_l19_saving_again_gives_the_same_bytes(bert: Any, tmp_path: Path) -> None:
    for name in ("one", "two"):
        bert.save_pretrained(tmp_path / name)
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name
    again = mh.HeadedModel.from_pretrained(tmp_path / "one")
    again.save_pretrained(tmp_path / "one", overwrite=True)
    assert (tmp_path / "one" / HEADS_WEIGHTS).read_bytes() == (tmp_path / "two" / HEADS_WEIGHTS).read_bytes()


def test_l19_a_reference_keeps_the_fork(bert: Any, tmp_path: Path) -> None:
    bert.save_pretrained(tmp_path / "small", backbone="reference")
    again, batch = mh.HeadedModel.from_pretrained(tmp_path / "small"), layouts(BY_NAME["bert"])["mixed"]
    for name, values in logits(bert, batch).items():
        assert torch.equal(logits(again, batch)[name], values)


def test_l19_heads_of_one_fork_loaded_one_by_one_share_it(bert: Any, saved: Saved, tmp_path: Path) -> None:
    model, batch = mh.HeadedModel.from_pretrained(saved("bert")), layouts(BY_NAME["bert"])["mixed"]
    plain = sizes(model)["all"]
    for name in FORKED:
        bert.save_head(name, tmp_path / name)
        names = {key.partition(".")[0] for key in load_file(tmp_path / name / HEADS_WEIGHTS) if "/" not in key}
        assert names == {name}
        model.load_head(tmp_path / name)
    assert list(model.core.backbone.branches) == ["fork"]
    own = sum(parameter.numel() for parameter in fork_of(model).trainable_parameters().values())
    assert sizes(model)["all"] == plain + own + sum(sizes(model)[name] for name in FORKED)
    for name in FORKED:
        assert torch.equal(logits(model, batch)[name], logits(bert, batch)[name])


def test_l19_a_fork_that_changed_since_is_a_second_one(bert: Any, saved: Saved, tmp_path: Path) -> None:
    model, batch = mh.HeadedModel.from_pretrained(saved("bert")), layouts(BY_NAME["bert"])["mixed"]
    bert.save_head("urgency", tmp_path / "head")
    model.load_head(tmp_path / "head", name="old")
    with torch.no_grad():
        next(iter(fork_of(model).trainable_parameters().values())).view(-1)[0] += 0.5
    model.load_head(tmp_path / "head", name="new")
    assert branches_read(model) == {"old": ["fork"], "new": ["fork2"]}
    found = logits(model, batch)
    assert torch.equal(found["new"], logits(bert, batch)["urgency"])
    assert not torch.equal(found["old"], found["new"])
    model.save_pretrained(tmp_path / "both")
    again = mh.HeadedModel.from_pretrained(tmp_path / "both")
    assert branches_read(again) == {"old": ["fork"], "new": ["fork2"]}
    assert all(torch.equal(values, found[name]) for name, values in logits(again, batch).items())


def test_l19_a_head_of_the_backbone_brings_no_fork(bert: Any, tmp_path: Path) -> None:
    bert.save_head("where", tmp_path / "head")
    assert all("/" not in key for key in load_file(tmp_path / "head" / HEADS_WEIGHTS))
    assert json.loads((tmp_path / "head" / HEADS_JSON).read_text())["branches"] == {}


def test_l19_a_pooler_beside_comes_back_as_the_fork_trained_it(tmp_path: Path) -> None:
    """``bert-base-german-cased`` in small: the file holds a pooler that its class leaves out."""
    whole = BY_NAME["bert"].build(model_class="BertForPreTraining")
    whole.save_pretrained(tmp_path / "source")
    config = json.loads((tmp_path / "source" / "config.json").read_text())
    config["architectures"] = ["BertForMaskedLM"]
    (tmp_path / "source" / "config.json").write_text(json.dumps(config))
    tokenizer_for(BY_NAME["bert"]).save_pretrained(tmp_path / "source")
    model = headed(tmp_path / "source", {"urgency": replace(FORKED["urgency"], reads=mh.Hidden(pool="pooler"))})
    train(model, heads=None)
    dense = "pooler_beside.dense.dense.weight"
    own = fork_of(model).trainable_parameters()
    assert not torch.equal(own[dense], model.core.backbone.pooler.dense.dense.weight)
    assert torch.equal(model.core.backbone.pooler.dense.dense.weight, whole.bert.pooler.dense.weight)
    model.save_pretrained(tmp_path / "out")
    again, batch = mh.HeadedModel.from_pretrained(tmp_path / "out"), layouts(BY_NAME["bert"])["mixed"]
    assert torch.equal(fork_of(again).trainable_parameters()[dense], own[dense])
    assert torch.equal(logits(again, batch)["urgency"], logits(model, batch)["urgency"])
    assert torch.equal(logits(model, batch, lm=True)["urgency"], logits(model, batch)["urgency"])


def test_l8_a_random_pooler_is_neither_forked_nor_saved(saved: Saved, tmp_path: Path) -> None:
    """A bare model whose file holds no pooler draws one: nobody may read it, so no fork may keep it."""
    shutil.copytree(saved("bert"), tmp_path / "source")
    config = json.loads((tmp_path / "source" / "config.json").read_text())
    config["architectures"] = ["BertModel"]
    (tmp_path / "source" / "config.json").write_text(json.dumps(config))
    model = headed(tmp_path / "source", FORKED)
    assert model.core.backbone.facts.pooler_width is None
    train(model)
    assert [name for name in fork_of(model).trainable_parameters() if "pooler" in name] == []
    model.save_pretrained(tmp_path / "out")
    assert [name for name in load_file(tmp_path / "out" / HEADS_WEIGHTS) if "pooler" in name] == []
    again, batch = mh.HeadedModel.from_pretrained(tmp_path / "out"), layouts(BY_NAME["bert"])["mixed"]
    assert all(torch.equal(values, logits(model, batch)[name]) for name, values in logits(again, batch).items())


def test_l19_a_fork_of_a_tuned_backbone_comes_back(tmp_path: Path) -> None:
    model = wrapped("gpt2", FORKED)
    mh.train(model, DATA, "text", mh.Full(epochs=1, lr=1e-3, start="random"), eval_fraction=0)
    train(model)
    model.save_pretrained(tmp_path / "out")
    again, batch = mh.HeadedModel.from_pretrained(tmp_path / "out"), layouts(BY_NAME["gpt2"])["mixed"]
    assert all(torch.equal(values, logits(model, batch)[name]) for name, values in logits(again, batch).items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_l19_a_fork_loads_in_another_precision(saved: Saved, bert: Any, tmp_path: Path, dtype: torch.dtype) -> None:
    bert.save_pretrained(tmp_path / "out")
    half, batch = mh.HeadedModel.from_pretrained(tmp_path / "out", dtype=dtype), layouts(BY_NAME["bert"])["mixed"]
    assert {parameter.dtype for parameter in fork_of(half).stack.parameters()} == {dtype}
    for name, values in logits(bert, batch).items():
        torch.testing.assert_close(logits(half, batch)[name], values, atol=0.15, rtol=0.05)


# --- L20, L21: forged files -----------------------------------------------------------------------

Corrupt = mh.errors.CorruptCheckpointError
KEY = "encoder.layer.2.output.dense.bias"


def tap_of(head: str, tap: object) -> Callable[[Path], None]:
    return say("heads", head, "taps", value=[tap])


def rename_branch(new: str) -> Callable[[Path], None]:
    """Name the branch otherwise everywhere: only the name itself can be objected to."""

    def record(content: dict[str, Any]) -> None:
        content["branches"] = {new: content["branches"].pop("fork")}
        for head in content["heads"].values():
            head["taps"] = [{**tap, "branch": new} if "branch" in tap else tap for tap in head["taps"]]

    def weights(stored: dict[str, Tensor]) -> None:
        for key in [key for key in stored if key.startswith("fork/")]:
            stored[new + key.removeprefix("fork")] = stored.pop(key)

    return lambda folder: [rewrite_json(folder, record), rewrite_weights(folder, weights)][0]


def without_branch(folder: Path) -> None:
    rewrite_json(folder, lambda record: record["branches"].clear())
    rewrite_weights(folder, lambda stored: [stored.pop(key) for key in list(stored) if "/" in key])


def forged_shape(folder: Path) -> None:
    """Declare another shape in both files: only the backbone can object."""
    rewrite_weights(folder, lambda stored: stored.update({f"fork/{KEY}": torch.zeros(HIDDEN + 1)}))
    say("branches", "fork", "tensors", KEY, value=[HIDDEN + 1])(folder)


def one_block_less(folder: Path) -> None:
    rewrite_weights(
        folder, lambda stored: [stored.pop(key) for key in list(stored) if key.startswith("fork/encoder.layer.2.")]
    )
    rewrite_json(
        folder,
        lambda record: record["branches"]["fork"].update(
            tensors={
                key: shape
                for key, shape in record["branches"]["fork"]["tensors"].items()
                if not key.startswith("encoder.layer.2.")
            }
        ),
    )


def integers(folder: Path) -> None:
    rewrite_weights(folder, lambda stored: stored.update({f"fork/{KEY}": torch.zeros(HIDDEN, dtype=torch.int64)}))


LAST = {"tap": "hidden", "layer": -1, "pool": "mean", "prompt": None, "normalize": False}
BROKEN: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "the branch is gone": (without_branch, (HEADS_JSON, "'urgency'", "'fork'", "not declared")),
    "the branch is not declared": (
        lambda folder: rewrite_json(folder, lambda record: record["branches"].clear()),
        ("'fork'",),
    ),
    "weights of an undeclared branch": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.update({f"spy/{KEY}": torch.zeros(2)})),
        (HEADS_WEIGHTS, "'spy'"),
    ),
    "a head that reads an undeclared branch": (
        tap_of("where", {"tap": "branched", "branch": "spy", "reads": LAST}),
        (HEADS_JSON, "'where'", "'spy'"),
    ),
    "one weight removed": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.pop(f"fork/{KEY}")),
        (HEADS_WEIGHTS, "'fork'", KEY),
    ),
    "one weight too many": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.update({"fork/spy": torch.zeros(2)})),
        (HEADS_WEIGHTS, "'fork'", "spy"),
    ),
    "wrong shape": (
        lambda folder: rewrite_weights(folder, lambda stored: stored.update({f"fork/{KEY}": torch.zeros(3)})),
        (HEADS_WEIGHTS, "'fork'", KEY),
    ),
    "wrong shape in both files": (forged_shape, (HEADS_JSON, "'fork'", KEY)),
    "a shape that is none": (say("branches", "fork", "tensors", KEY, value="32"), (HEADS_JSON, "'fork'", KEY)),
    "integers for weights": (integers, (HEADS_JSON, "'fork'", KEY)),
    "a block less than it shows": (one_block_less, (HEADS_JSON, "'fork'", "encoder.layer.2.")),
    "a NaN": (put(f"fork/{KEY}", float("nan")), (HEADS_WEIGHTS, "'fork'", KEY)),
    "an infinity": (put(f"fork/{KEY}", float("-inf")), (HEADS_WEIGHTS, "'fork'", KEY)),
    **{
        f"top is {top!r}": (say("branches", "fork", "settings", "top", value=top), (HEADS_JSON, "'fork'"))
        for top in (0, -1, 1, 3, 4, 10**9, 10**30, "2", True, None, 2.0, [2], {"top": 2})
    },
    "settings that are no object": (say("branches", "fork", "settings", value=[2]), (HEADS_JSON, "'fork'")),
    "no settings": (say("branches", "fork", "settings", value={}), (HEADS_JSON, "'fork'")),
    "a setting too many": (say("branches", "fork", "settings", "code", value="x"), (HEADS_JSON, "'fork'", "code")),
    "an unknown kind of branch": (say("branches", "fork", "kind", value="pickle"), (HEADS_JSON, "'fork'", "'pickle'")),
    "a kind that is no name": (say("branches", "fork", "kind", value=["fork"]), (HEADS_JSON, "'fork'")),
    "an unknown key of a branch": (say("branches", "fork", "module", value="os"), (HEADS_JSON, "'fork'", "'module'")),
    "branches that are a list": (say("branches", value=[]), (HEADS_JSON,)),
    "a branch of a branch": (
        tap_of(
            "where",
            {"tap": "branched", "branch": "fork", "reads": {"tap": "branched", "branch": "fork", "reads": LAST}},
        ),
        (HEADS_JSON, "'where'", "branched"),
    ),
    "a branch that reads nothing": (
        tap_of("where", {"tap": "branched", "branch": "fork", "reads": None}),
        (HEADS_JSON, "'where'", "branched"),
    ),
    "a branch without a name": (
        tap_of("where", {"tap": "branched", "branch": 3, "reads": LAST}),
        (HEADS_JSON, "'where'", "branched"),
    ),
    "token states of a head": (tap_of("where", {"tap": "token_states", "layer": -3}), (HEADS_JSON, "'where'")),
    "token states of a layer that is none": (
        tap_of("where", {"tap": "token_states", "layer": "x"}),
        (HEADS_JSON, "'where'"),
    ),
    "token states of a branch": (
        tap_of("where", {"tap": "branched", "branch": "fork", "reads": {"tap": "token_states", "layer": -3}}),
        (HEADS_JSON, "'where'"),
    ),
    "a layer that is not there, of a branch": (
        tap_of("where", {"tap": "branched", "branch": "fork", "reads": {**LAST, "layer": -40}}),
        (HEADS_JSON, "'where'"),
    ),
    "a layer counted from below, of a branch": (
        tap_of("where", {"tap": "branched", "branch": "fork", "reads": {**LAST, "layer": 1}}),
        (HEADS_JSON, "'where'"),
    ),
    "a pooling not decided, of a branch": (
        tap_of("where", {"tap": "branched", "branch": "fork", "reads": {**LAST, "pool": "auto"}}),
        (HEADS_JSON, "'where'"),
    ),
    "a pooler that is not there": (tap_of("where", {**LAST, "pool": "pooler"}), (HEADS_JSON, "'where'")),
    "a pooler that is not there, of a branch": (
        tap_of("where", {"tap": "branched", "branch": "fork", "reads": {**LAST, "pool": "pooler"}}),
        (HEADS_JSON, "'where'"),
    ),
    **{
        f"a branch named {name!r}": (rename_branch(name), (HEADS_JSON,))
        for name in ("../spy", "a.b", "", "forward", "keys", "training", "_modules")
    },
}


@pytest.fixture(scope="module")
def whole(bert: mh.HeadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BERT with a fork, saved; tests must not write there."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    bert.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def receiver(saved: Saved) -> mh.HeadedModel:
    return mh.HeadedModel.from_pretrained(saved("bert"))


@pytest.mark.parametrize(("breaking", "words"), BROKEN.values(), ids=BROKEN)
def test_l21_a_forged_checkpoint_is_rejected_by_name(
    whole: Path, receiver: mh.HeadedModel, tmp_path: Path, breaking: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    breaking(folder)
    assert_rejected(Corrupt, words, lambda: mh.HeadedModel.from_pretrained(folder))
    # And nothing of it is attached to a model that is there already, whichever head is asked for.
    before = set(receiver.state_dict())
    head = "where" if "'where'" in words else "urgency"
    assert_rejected(Corrupt, words, lambda: receiver.load_head(folder, head=head))
    assert set(receiver.state_dict()) == before
    assert list(receiver.core.backbone.branches) == []


def test_l21_heads_that_come_together_come_all_or_none(whole: Path, tmp_path: Path) -> None:
    """The third head is wrong: neither the heads before it nor their fork stay."""
    folder = Path(shutil.copytree(whole, tmp_path / "model"))
    say("heads", "age", "taps", value=[{"tap": "branched", "branch": "fork", "reads": {**LAST, "layer": -40}}])(folder)
    from manyheads.checkpoint.load import attach_heads, open_checkpoint

    core = HeadedCore(Backbone(BY_NAME["bert"].build()))
    with pytest.raises(Corrupt):
        attach_heads(core, open_checkpoint(folder), {name: name for name in FORKED})
    assert list(core.heads) == []
    assert list(core.backbone.branches) == []


# --- L22: interrupted -----------------------------------------------------------------------------


class Crash(BaseException):
    """Not an Exception: nothing may swallow it."""


def crash_at(monkeypatch: pytest.MonkeyPatch, owner: Any, method: str, call: int, error: BaseException) -> None:
    calls: list[int] = []
    inner = getattr(owner, method)

    def crashing(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise error
        return inner(*given, **named)

    monkeypatch.setattr(owner, method, crashing)


# Where, at which call of what, and how.
MOMENTS: dict[str, tuple[Any, str, int, BaseException]] = {
    "at the third step": (mh.Trainer, "compute_loss", 3, KeyboardInterrupt()),
    "in the extraction pass": (TokenStates, "read", 1, RuntimeError("out of memory")),
    "while the fork is put together": (ForkBranch, "tuned_parts", 1, Crash()),
    "while rows are taken": (PieceTable, "take", 4, RuntimeError("out of memory")),
    "in an evaluation": (HeadedCore, "resume_from_states", 4, KeyboardInterrupt()),
    "in the last evaluation": (FeatureSource, "read", 2, Crash()),
}


@pytest.mark.parametrize("again", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_l22_interrupted_training_leaves_no_branch(moment: str, again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrapped("gpt2", {**FORKED, **BESIDE})
    if again:
        train(model, replace(TWELVE_STEPS, epochs=1))
    model.heads["urgency"].train()
    before, taps = snapshot(model), {name: head.taps for name, head in model.heads.items()}
    modules = {name: module.training for name, module in model.named_modules()}
    trained = {name: head.trained for name, head in model.heads.items()}
    crash_at(monkeypatch, *MOMENTS[moment])
    with pytest.raises(type(MOMENTS[moment][-1])):
        train(model, replace(TWELVE_STEPS, epochs=2, cache=None), eval_fraction=0.2)
    assert changed(model, before) == []
    assert {name: head.taps for name, head in model.heads.items()} == taps
    assert {name: head.trained for name, head in model.heads.items()} == trained
    assert {name: module.training for name, module in model.named_modules()} == modules
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert list(model.core.backbone.branches) == (["fork"] if again else [])


# --- L23: cost ------------------------------------------------------------------------------------


@contextmanager
def calls_of(block: type[nn.Module]) -> Iterator[list[nn.Module]]:
    """Record which modules of a class really run: a block that does nothing is not among them."""
    called: list[nn.Module] = []
    inner = block.forward

    @functools.wraps(inner)
    def counting(self: nn.Module, *given: Any, **named: Any) -> Any:
        called.append(self)
        return inner(self, *given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block, "forward", counting)
        yield called


@contextmanager
def calls_in_steps(block: type[nn.Module]) -> Iterator[list[list[nn.Module]]]:
    """Record which modules of a class run in each step of a trainer."""
    steps: list[list[nn.Module]] = []
    step = mh.Trainer.training_step
    with calls_of(block) as called, pytest.MonkeyPatch.context() as patch:

        def watched(*given: Any) -> Any:
            start = len(called)
            done = step(*given)
            steps.append(called[start:])
            return done

        patch.setattr(mh.Trainer, "training_step", watched)
        yield steps


def blocks_by_place(model: mh.HeadedModel) -> dict[nn.Module, str]:
    """Name every block that there is: the backbone's, and those of each way through each fork."""
    places = {block: f"backbone {place}" for place, block in enumerate(model.core.backbone.blocks())}
    for name, fork in model.core.backbone.branches.items():
        for way, stack in (("whole", fork.stack), ("upper", fork.upper)):
            if stack is not None:
                places |= {block: f"{name} {way} {at}" for at, block in enumerate(find_blocks(stack, LAYERS))}
    return places


def ran(model: mh.HeadedModel, called: Sequence[nn.Module]) -> Counter[str]:
    places = blocks_by_place(model)
    return Counter(places[block] for block in called if block in places)


def lowest_of(family: Family, way: str) -> dict[str, int]:
    return {f"{way} 0": 1} if family.name in LOWEST_RUNS else {}


@over("L23", FORKABLE)
def test_the_lm_and_five_heads_cost_one_pass_and_the_forks_top(family: Family, forked: Models) -> None:
    model, batch = forked(family), layouts(family)["right"]
    block = type(model.core.backbone.blocks()[0])
    once = {f"backbone {place}": 1 for place in range(LAYERS)}
    upper = {"fork upper 1": 1, "fork upper 2": 1, **lowest_of(family, "fork upper")}
    with calls_of(block) as called:
        model(**batch, **decoder_inputs(family, 6), lm=True)
    assert ran(model, called) == {**once, **upper}
    with calls_of(block) as called:
        model(**batch)
    assert ran(model, called) == {**once, **upper}
    with calls_of(block) as called:
        model(**batch, heads=list(BESIDE))
    assert ran(model, called) == once
    with calls_of(block) as called:
        model(**batch, heads=list(FORKED))
    assert ran(model, called) == {f"fork whole {place}": 1 for place in range(LAYERS)}


@over("L23", FORKABLE)
def test_no_block_below_the_fork_runs_in_any_step(family: Family, forked: Models) -> None:
    forked(family)
    assert RAN_IN_STEPS[family.name] == [
        {"fork upper 1": 1, "fork upper 2": 1, **lowest_of(family, "fork upper")} for _ in range(STEPS)
    ]


@contextmanager
def passes() -> Iterator[list[tuple[int, set[str]]]]:
    """Record every feature pass: how many rows, and the kinds of taps."""
    seen: list[tuple[int, set[str]]] = []
    from manyheads.features import source

    inner = source.run_pass

    def watched(core: Any, tokenized: Any, rows: Any, taps: Any, *others: Any) -> None:
        seen.append((len(rows), {tap.kind for tap in taps}))
        inner(core, tokenized, rows, taps, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "run_pass", watched)
        yield seen


@pytest.mark.parametrize("family", ["bert", "mamba"])
def test_l23_a_second_training_meets_the_token_states(family: str, saved: Saved) -> None:
    texts = different_texts(30)
    data = [{"text": text, "urgency": ("routine", "urgent", "emergency")[row % 3]} for row, text in enumerate(texts)]
    method = mh.Fork(top=2, epochs=2, batch_rows=8)
    for number in range(3):
        model = headed(saved(family), {"urgency": FORKED["urgency"]})
        with passes() as seen:
            mh.train(model, data, "text", method if number < 2 else replace(method, start="random"), eval_fraction=0)
        # Starting heads are solved on pooled features, also of the three labels' names, and the fork steps on token
        # states: one pass each, and then none.
        assert seen == ([(33, {"hidden"}), (30, {"token_states"})] if number == 0 else [])
    with passes() as seen:  # evaluation runs the fork as a prediction will, once
        mh.train(headed(saved(family), {"urgency": FORKED["urgency"]}), data, "text", method, eval_fraction=0.2)
    assert seen == [(6, {"branched", "hidden"})]  # the frozen head is part of the answer


def test_l23_another_layer_or_backbone_never_meets_them(saved: Saved) -> None:
    def read(model: mh.HeadedModel, top: int = 2) -> int:
        method = replace(TWELVE_STEPS, epochs=1, top=top)
        with passes() as seen:
            train(model, method)
        return sum(rows for rows, _ in seen)

    assert read(headed(saved("bert"), FORKED)) == len(TEXTS)
    assert read(headed(saved("bert"), FORKED), top=1) == len(TEXTS)
    tuned = headed(saved("bert"), FORKED)
    with torch.no_grad():
        next(tuned.backbone.parameters()).view(-1)[0] += 0.5
    assert read(tuned) == len(TEXTS)
    assert read(headed(saved("bert"), FORKED)) == 0


def test_l23_cached_and_computed_token_states_train_the_same_fork(saved: Saved, tmp_path: Path) -> None:
    models = [headed(saved("gpt2"), FORKED) for _ in range(3)]
    for model, cache in zip(models, (tmp_path / "cache", tmp_path / "cache", None), strict=True):
        train(model, replace(TWELVE_STEPS, epochs=1, cache=cache))
    for model in models[1:]:
        assert changed(model, snapshot(models[0])) == []


def test_l25_the_same_seed_trains_the_same_fork_and_another_another(saved: Saved) -> None:
    one, other, third = (headed(saved("bert"), FORKED) for _ in range(3))
    for model, seed in ((one, 1), (other, 1), (third, 2)):
        train(model, replace(TWELVE_STEPS, epochs=1), seed=seed)
    assert changed(other, snapshot(one)) == []
    assert changed(third, snapshot(one)) != []


# --- where it does not fit ------------------------------------------------------------------------


def deltas(model: mh.HeadedModel) -> Tensor:
    """Return what training moved, end to end."""
    names = dict(model.core.backbone.stack.named_parameters())
    return torch.cat(
        [(new - names[name]).flatten() for name, new in fork_of(model).trainable_parameters().items()]
    ).detach()


def small_steps(**settings: Any) -> mh.Fork:
    return mh.Fork(**{"top": 2, "epochs": 2, "lr": 1e-2, "batch_rows": 8, "start": "random", **settings})


TWO = {"urgency": FORKED["urgency"], "age": replace(FORKED["age"], reads=mh.Hidden(pool="mean"))}
FALL_BACKS = ["a small cache", "a full disk", "little memory", "a head below"]


@functools.cache
def moved_on_kept_states(family: str) -> Tensor:
    model = wrapped(family, TWO, still=True)
    assert "token states, read once" in train(model, small_steps(), heads=list(TWO)).notes[-1]
    return deltas(model)


@pytest.mark.parametrize(
    ("family", "why"), [*(("gpt2", why) for why in FALL_BACKS), ("bert", "a head below"), ("t5", "a small cache")]
)
def test_where_token_states_are_not_kept_the_result_is_nearly_the_same(
    family: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_descent(monkeypatch)  # AdamW's first steps turn rounding into steps of full size
    kept = moved_on_kept_states(family)
    settings: dict[str, Any] = {}
    if why == "a small cache":
        monkeypatch.setenv("MANYHEADS_CACHE_GB", "0.000001")
    elif why == "a full disk":
        usage = shutil.disk_usage("/")
        monkeypatch.setattr("manyheads.training.tuning.fork.shutil.disk_usage", lambda _: usage._replace(free=1 << 30))
    elif why == "little memory":
        monkeypatch.setattr("manyheads.training.tuning.fork._HELD_BYTES", 100)
        settings = {"cache": None}
    live = wrapped(family, TWO, still=True)
    if why == "a head below":
        live.add_head("below", replace(BESIDE["where"], column="where", reads=mh.Hidden(layer=0, pool="mean")))
        live.heads["below"].spec = replace(live.heads["below"].spec, loss_weight=1e-12)
    result = train(live, small_steps(**settings), heads=list(live.heads))
    expected = "a head reads them" if why == "a head below" else "are free"
    assert expected in result.notes[-1]
    assert result.lm_check.bit_identical
    assert float(kept.norm()) > 1e-3
    assert relative(deltas(live), kept) < 0.03


def test_a_head_below_the_fork_reads_the_backbones_own_states(saved: Saved) -> None:
    heads = {
        "urgency": FORKED["urgency"],
        "low": mh.Multiclass(labels=["yes", "no"], column="sent", reads=mh.Hidden(layer=0, pool="mean")),
        "mix": mh.Multiclass(labels=["yes", "no"], column="sent", reads=mh.Hidden(layer="mix", pool="mean")),
    }
    model, batch = headed(saved("gpt2"), heads), layouts(BY_NAME["gpt2"])["mixed"]
    result = train(model, heads=None)
    assert "a head reads them" in result.notes[-1]
    alone, beside = logits(model, batch), logits(model, batch, lm=True)
    assert all(torch.equal(alone[name], beside[name]) for name in heads)
    model.heads["low"].taps = tuple(tap.reads for tap in model.heads["low"].taps)
    assert torch.equal(logits(model, batch)["low"], alone["low"])


def test_a_head_at_the_entry_still_trains_on_kept_states(saved: Saved) -> None:
    model = headed(saved("gpt2"), {**FORKED, "entry": replace(BESIDE["where"], column="where", reads=mh.Hidden(1))})
    result = train(model, heads=None)
    assert any("token states, read once" in note for note in result.notes)


def test_a_fork_of_every_block_has_nothing_to_enter(saved: Saved) -> None:
    model, batch = headed(saved("gpt2"), FORKED), layouts(BY_NAME["gpt2"])["mixed"]
    result = train(model, replace(TWELVE_STEPS, top=3))
    assert "the fork needs them" in result.notes[-1]
    assert result.lm_check.bit_identical
    alone, beside = logits(model, batch), logits(model, batch, lm=True)
    assert all(torch.equal(alone[name], beside[name]) for name in FORKED)


def test_memory_alone_serves_where_there_is_no_cache(own_cache: Path) -> None:
    model = wrapped("bert", FORKED)
    result = train(model, replace(TWELVE_STEPS, cache=None))
    assert any("token states, read once" in note for note in result.notes)
    assert not own_cache.exists()


def test_a_cache_that_is_a_file_is_rejected_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("mine")
    model = wrapped("bert", FORKED)
    before = snapshot(model)
    with pytest.raises(mh.errors.CacheError):
        train(model, replace(TWELVE_STEPS, cache=tmp_path / "cache"))
    assert changed(model, before) == []


# --- heads come and go ----------------------------------------------------------------------------


@pytest.fixture
def model(bert: mh.HeadedModel) -> mh.HeadedModel:
    """A copy of the trained BERT, to be changed."""
    return copy.deepcopy(bert)


def test_the_last_head_takes_its_fork_along(model: mh.HeadedModel) -> None:
    for name in list(FORKED):
        assert list(model.core.backbone.branches) == ["fork"]
        model.remove_head(name)
    assert list(model.core.backbone.branches) == []
    assert set(logits(model, layouts(BY_NAME["bert"])["right"])) == set(BESIDE)


def test_frozen_training_moves_heads_off_the_fork(model: mh.HeadedModel) -> None:
    batch = layouts(BY_NAME["bert"])["right"]
    before = logits(model, batch)
    mh.train(model, DATA, "text", mh.Frozen(), heads=["urgency"], eval_fraction=0)
    assert branches_read(model)["urgency"] == [None]
    assert branches_read(model)["age"] == ["fork"]
    after = logits(model, batch)
    assert torch.equal(after["age"], before["age"])
    assert not torch.equal(after["urgency"], before["urgency"])
    mh.train(model, DATA, "text", mh.Frozen(l2=0.1), heads=["symptoms", "age"], eval_fraction=0)
    assert list(model.core.backbone.branches) == []


def test_full_training_moves_all_heads_off_the_fork(model: mh.HeadedModel) -> None:
    for start in ("frozen", "random"):
        again = copy.deepcopy(model)
        mh.train(again, DATA, "text", mh.Full(epochs=1, start=start), eval_fraction=0)
        assert list(again.core.backbone.branches) == []
        assert {branch for taps in branches_read(again).values() for branch in taps} == {None}


def test_full_training_is_rejected_while_another_head_reads_a_fork(model: mh.HeadedModel) -> None:
    before = snapshot(model)
    with pytest.raises(mh.errors.BackboneError, match=r"heads 'symptoms', 'age' read a branch"):
        mh.train(model, DATA, "text", mh.Full(epochs=1), heads=["urgency", "where"], eval_fraction=0)
    assert changed(model, before) == []


def test_two_forks_at_once(model: mh.HeadedModel, tmp_path: Path) -> None:
    batch = layouts(BY_NAME["bert"])["mixed"]
    before = logits(model, batch)
    result = train(model, replace(TWELVE_STEPS, top=1), heads=list(BESIDE))
    assert result.lm_check.bit_identical
    assert list(model.core.backbone.branches) == ["fork", "fork2"]
    assert branches_read(model)["sent"] == ["fork2", "fork2"]
    one = set(fork_of(model).trainable_parameters().values())
    assert not one & set(fork_of(model, "fork2").trainable_parameters().values())
    together = logits(model, batch)
    assert all(torch.equal(together[name], before[name]) for name in FORKED)
    for name in model.heads:
        assert torch.equal(logits(model, batch, heads=[name])[name], together[name])
        assert torch.equal(logits(model, batch, lm=True)[name], together[name])
    model.save_pretrained(tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out")
    assert list(again.core.backbone.branches) == ["fork", "fork2"]
    assert all(torch.equal(logits(again, batch)[name], values) for name, values in together.items())
    for name in FORKED:
        model.remove_head(name)
    assert list(model.core.backbone.branches) == ["fork2"]


def test_a_second_training_leaves_one_fork_and_other_heads_theirs(model: mh.HeadedModel) -> None:
    batch = layouts(BY_NAME["bert"])["mixed"]
    before = logits(model, batch)
    train(model, replace(TWELVE_STEPS, epochs=1), heads=["urgency"])
    assert branches_read(model)["urgency"] == ["fork2"]
    assert branches_read(model)["age"] == ["fork"]
    assert torch.equal(logits(model, batch)["age"], before["age"])
    train(model, replace(TWELVE_STEPS, epochs=1))
    assert len(model.core.backbone.branches) == 1


def test_a_copy_predicts_the_same_and_shares_nothing(bert: mh.HeadedModel) -> None:
    batch = layouts(BY_NAME["bert"])["mixed"]
    expected, twin = logits(bert, batch), copy.deepcopy(bert)
    for found in (logits(twin, batch), logits(twin, batch, lm=True)):
        assert all(torch.equal(found[name], values) for name, values in expected.items())

    def places(one: nn.Module) -> set[int]:
        return {tensor.data_ptr() for tensor in [*one.parameters(), *one.buffers()] if tensor.numel()}

    assert not places(bert) & places(twin)
    fork = fork_of(twin)
    assert dict(fork.upper.named_parameters()).keys() == dict(fork.stack.named_parameters()).keys()
    for name, parameter in fork.upper.named_parameters():
        assert parameter is dict(fork.stack.named_parameters())[name]
    # Below the fork, the copy's fork is the copy's backbone.
    assert fork.stack.embeddings.word_embeddings.weight is twin.backbone.bert.embeddings.word_embeddings.weight
    before = snapshot(bert)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert changed(bert, before) == []


def test_moving_a_model_keeps_what_its_fork_shares(model: mh.HeadedModel) -> None:
    batch = layouts(BY_NAME["bert"])["mixed"]
    expected = logits(model, batch)
    model.train()
    assert all(module.training for module in fork_of(model).modules())
    model.eval().to("cpu")
    assert not any(module.training for module in fork_of(model).modules())
    assert all(torch.equal(logits(model, batch)[name], values) for name, values in expected.items())
    model.to(torch.float64)
    shared = dict(model.core.backbone.stack.named_parameters())
    fork = fork_of(model)
    for stack in (fork.stack, fork.upper):
        assert sum(parameter is shared[name] for name, parameter in stack.named_parameters()) == len(shared) - len(
            fork.trainable_parameters()
        )
    assert {parameter.dtype for parameter in model.core.backbone.parameters()} == {torch.float64}
    assert {parameter.dtype for parameter in model.heads.parameters()} == {torch.float32}
    model.to(torch.float32)
    assert all(torch.equal(logits(model, batch)[name], values) for name, values in expected.items())


def test_training_mode_puts_dropout_to_work_in_predictions_of_a_forward(model: mh.HeadedModel) -> None:
    batch = layouts(BY_NAME["bert"])["right"]
    torch.manual_seed(0)
    model.train()
    first, second = logits(model, batch)["urgency"], logits(model, batch)["urgency"]
    assert not torch.equal(first, second)
    predicted = [model.predict(TEXTS, heads=["urgency"]).scores["urgency"] for _ in range(2)]
    np.testing.assert_array_equal(*predicted)


def test_a_backbone_loaded_in_bf16_forks_in_bf16(saved: Saved, tmp_path: Path) -> None:
    model = mh.HeadedModel.from_pretrained(saved("gpt2"), dtype=torch.bfloat16)
    add_heads(model, FORKED)
    before, batch = snapshot(model.backbone), layouts(BY_NAME["gpt2"])["right"]
    result = train(model)
    assert result.lm_check.bit_identical
    assert changed(model.backbone, before) == []
    model.save_pretrained(tmp_path / "out")
    again = mh.HeadedModel.from_pretrained(tmp_path / "out", dtype=torch.bfloat16)
    assert all(torch.equal(logits(again, batch)[name], values) for name, values in logits(model, batch).items())


def test_the_result_reports_what_was_done(saved: Saved, tmp_path: Path) -> None:
    model = headed(saved("bert"), FORKED)
    method = mh.Fork(top=1, epochs=2, batch_rows=8, layer_decay=0.5, frozen_share=0.25)
    result = mh.train(model, DATA, "text", method, eval_fraction=0.4, out=tmp_path / "out")
    alone, beside = result.reads["urgency"].split(" + ")
    assert alone == f"{beside} of fork"
    assert result.chosen["urgency"]["frozen_share"] == 0.25
    assert [record["epoch"] for record in result.history["urgency"]] == [0.0, 1.0, 2.0]
    assert result.chosen["urgency"]["lr"] == 3e-4
    assert result.lm_check.perplexity is None
    loaded = mh.HeadedModel.from_pretrained(tmp_path / "out")
    summary = loaded.heads["urgency"].summary
    assert {key: summary[key] for key in ("method", "top", "layer_decay", "weighting")} == {
        "method": "Fork", "top": 1, "layer_decay": 0.5, "weighting": "sum"
    }  # fmt: skip
    assert "cache" not in summary
    report = mh.train(model, DATA, "text", mh.Frozen(), heads=["age"], eval_fraction=0)
    assert " of fork" not in report.reads["age"]


def test_metrics_are_those_of_what_predicts(saved: Saved) -> None:
    """Epochs are judged on kept states, the result on the fork as a prediction runs it."""
    model = headed(saved("gpt2"), FORKED)
    table = DATA[:12]
    result = mh.train(model, DATA, "text", replace(TWELVE_STEPS, epochs=2), eval_data=table)
    predicted = model.predict([str(row["text"]) for row in table], heads=["urgency", "age"])
    right = [row["urgency"] == found["urgency"].label for row, found in zip(table, predicted, strict=True)]
    assert result.metrics["urgency"]["accuracy"] == pytest.approx(np.mean(right))
    errors = [float(row["age"]) - found["age"].value for row, found in zip(table, predicted, strict=True)]
    assert result.metrics["age"]["mean_absolute_error"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    last = result.history["age"][-1]["mean_absolute_error"]
    assert last == pytest.approx(result.metrics["age"]["mean_absolute_error"], rel=0.02)
