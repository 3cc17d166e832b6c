"""L10, L23 for blocks: a pass ends at the highest layer that is read, and reads the bits of a whole pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import manyheads as mh
from manyheads.backbone.backbone import Backbone
from manyheads.backbone.branches.branch import Branch
from manyheads.backbone.branches.branches import build_fork, build_lora, lora_targets
from manyheads.backbone.branches.lora import LoRASettings
from manyheads.backbone.stack.probe import forward_settings
from manyheads.backbone.stack.right_padding import right_pad
from manyheads.types import Batch, Request, States
from tests.families import BY_NAME, FAMILIES, LAYERS, Family, tokenizer_for
from tests.laws.oracle import SIDES, decoder_inputs, over, padded, rows_of
from tests.laws.test_fork import FORKABLE, LOWEST_RUNS, calls_of

LOWER = tuple(range(-LAYERS - 1, -1))
# The number of blocks that a layer needs, where it is not its place above the embeddings. ALBERT's layers share one
# block, so all its layers run. Mamba's first hidden state is the output of its first block.
NEEDED = {"albert": dict.fromkeys(LOWER, LAYERS), "mamba": {-4: 1, -3: 2, -2: 3}}
PROMPT = "the patient shows\n{text} , urgent"


def needed(family: Family, layers: Iterable[int]) -> int:
    """Return how many blocks must run for these layers."""
    places = {-1: LAYERS} | NEEDED.get(family.name, {layer: LAYERS + 1 + layer for layer in LOWER})
    return max(places[layer] for layer in layers)


def backbone_of(family: Family) -> Backbone:
    backbone = Backbone(family.build()).eval()
    backbone.use_prompt_tokenizer(
        mh.HeadedModel.wrap(backbone.model, tokenizer_for(family)).core.backbone.prompt_tokenizer
    )
    assert backbone.facts.widths
    return backbone


def batch_of(family: Family, side: str = "right") -> Batch:
    return Batch(**padded(rows_of(family)[:6], side))


@contextmanager
def block_calls(backbone: Backbone) -> Iterator[list[nn.Module]]:
    """Record which blocks run, those of branches included."""
    shared = next((part for part in backbone.stack.modules() if type(part).__name__ == "AlbertLayer"), None)
    with calls_of(type(shared or backbone.blocks()[0])) as called:
        yield called


@torch.no_grad()
def whole_pass(stack: nn.Module, states: States) -> tuple[Tensor, ...]:
    """Return all hidden states of the ids that states were read from."""
    mask = states.mask.long()
    output = stack(input_ids=states.input_ids, attention_mask=mask, **forward_settings(stack, hidden_states=True))
    return output.hidden_states


def assert_same_bits(states: States, stack: nn.Module, layers: Iterable[int]) -> None:
    expected = whole_pass(stack, states)
    assert set(states.hidden) == set(layers)
    assert all(torch.equal(states.hidden[layer], expected[layer]) for layer in layers)


@over("L23", FAMILIES)
def test_l23_no_block_above_the_highest_layer_runs(family: Family) -> None:
    backbone = backbone_of(family)
    for layers in [*({layer} for layer in LOWER), {-4, -2}, {-4, -3}, {-3, -1}, {-1}, set(LOWER)]:
        for side in SIDES:
            with torch.no_grad(), block_calls(backbone) as called:
                states, _ = backbone(batch_of(family, side), Request(frozenset(layers)))
            assert len(called) == needed(family, layers), (layers, side)
            assert_same_bits(states, backbone.stack, layers)


@over("L23", FAMILIES)
def test_l23_the_language_model_runs_whole_beside_a_head_on_a_low_layer(family: Family) -> None:
    backbone, model = backbone_of(family), family.build()
    batch, decoder = right_pad(batch_of(family)).batch, decoder_inputs(family, 6)
    with torch.no_grad():
        backbone(batch, Request(frozenset({-3})))  # a pass that ends early leaves nothing behind
        states, logits = backbone(replace(batch, **decoder), Request(frozenset({-3})), lm=True)
        expected = model(**batch.inputs(), **decoder).logits
    assert_same_bits(states, backbone.stack, {-3})
    assert logits is not None
    assert torch.equal(logits, expected)


@over("L23", FAMILIES)
def test_l23_a_prompt_ends_at_its_layer_too(family: Family) -> None:
    backbone = backbone_of(family)
    with torch.no_grad(), block_calls(backbone) as called:
        states, _ = backbone(batch_of(family, "left"), Request(prompts={PROMPT: Request(frozenset({-3}))}))
    assert len(called) == needed(family, {-3})
    assert_same_bits(states.prompts[PROMPT], backbone.stack, {-3})


def test_l23_prompts_on_low_layers_do_not_run_all_blocks_to_share_their_text() -> None:
    backbone = backbone_of(BY_NAME["gpt2"])
    assert backbone.trunk.extends_cache  # tried on first use, in passes of its own
    prompts = ["{text} , urgent or routine", "{text} , old or new night"]
    ran = {}
    for layer in (-3, -1):
        request = Request(prompts=dict.fromkeys(prompts, Request(frozenset({layer}))))
        with torch.no_grad(), block_calls(backbone) as called:
            backbone(batch_of(BY_NAME["gpt2"]), request)
        ran[layer] = len(called)
    assert ran == {-3: 2, -1: 9}  # two passes of one block; one of three blocks, and three blocks for each end


def moved(branch: Branch) -> Branch:
    """Move a branch's own weights, so that it computes something else than the backbone."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in branch.trainable_parameters().values():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.1)
    return branch


@over("L23", FORKABLE)
def test_l23_the_trunk_ends_where_forks_start_and_forks_end_at_their_layer(family: Family) -> None:
    backbone = backbone_of(family)
    for name in ("one", "two"):
        backbone.branches[name] = moved(build_fork(backbone.trunk, 2))
    entry = needed(family, [backbone.branches["one"].entry])
    lowest = 1 if family.name in LOWEST_RUNS else 0
    for layers, top in (({-2}, needed(family, {-2}) - entry), ({-1}, 2), ({-4}, 0)):
        request = Request(branches=dict.fromkeys(["one", "two"], Request(frozenset(layers))))
        with torch.no_grad(), block_calls(backbone) as called:
            states, _ = backbone(batch_of(family), request)
        assert len(called) == entry + 2 * (top + lowest * bool(top)), layers
        for name in ("one", "two"):
            assert_same_bits(states.branches[name], backbone.branches[name].stack, layers)


@over("L23", FAMILIES)
def test_l23_a_branch_alone_ends_at_its_layer(family: Family) -> None:
    backbone = backbone_of(family)
    targets = lora_targets(backbone.trunk, ["in_proj"] if family.name == "mamba" else "auto")
    settings = LoRASettings(2, 4, targets, 0.0)
    backbone.branches["lora"] = moved(build_lora(backbone.trunk, settings))
    if family in FORKABLE:
        backbone.branches["fork"] = moved(build_fork(backbone.trunk, 2))
    for name, branch in backbone.branches.items():
        for layer in LOWER:
            request = Request(branches={name: Request(frozenset({layer}))})
            with torch.no_grad(), block_calls(backbone) as called:
                states, _ = backbone(batch_of(family, "left"), request)
            assert len(called) == needed(family, {layer})
            assert_same_bits(states.branches[name], branch.stack, {layer})


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5", "modernbert"])
def test_l23_gradients_of_a_low_layer_are_those_of_a_whole_pass(family: str) -> None:
    ended, whole = backbone_of(BY_NAME[family]), backbone_of(BY_NAME[family])
    states, _ = ended(batch_of(BY_NAME[family]), Request(frozenset({-2})))
    states.hidden[-2].square().sum().backward()
    batch = right_pad(batch_of(BY_NAME[family])).batch
    whole.stack(**batch.inputs(), output_hidden_states=True).hidden_states[-2].square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in whole.named_parameters()}
    assert sum(gradient is not None for gradient in gradients.values()) > 10
    for name, parameter in ended.named_parameters():
        expected = gradients[name]
        assert (parameter.grad is None) == (expected is None), name
        assert expected is None or torch.equal(parameter.grad, expected), name


def test_l23_heads_on_low_layers_predict_what_they_predict_beside_one_at_the_top() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("low", mh.Multiclass(labels=[0, 1], reads=mh.Hidden(layer=1, pool="mean"))).trained = True
    model.add_head("top", mh.Multiclass(labels=[0, 1])).trained = True
    batch = padded(rows_of(BY_NAME["bert"]))
    with torch.no_grad(), block_calls(model.core.backbone) as called:
        low = model(**batch, heads=["low"]).logits["low"]
    assert len(called) == 1
    with torch.no_grad():
        assert torch.equal(low, model(**batch).logits["low"])
