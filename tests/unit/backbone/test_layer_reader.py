"""Models that do something else between two blocks, or while a pass ends: a reader reads what a whole pass gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput

from manyheads.backbone.backbone import Backbone
from manyheads.backbone.stack.layer_reader import LayerReader, observe_reader
from manyheads.backbone.stack.right_padding import right_pad
from manyheads.types import Batch, Request
from tests.families import BY_NAME

LAYERS, WIDTH, VOCABULARY = 5, 6, 40


class Block(nn.Module):
    """Adds a linear layer's output, perhaps in place."""

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.in_place = in_place

    def forward(self, hidden_states: Tensor) -> Tensor:
        added = self.linear(hidden_states)
        return hidden_states.add_(added) if self.in_place else hidden_states + added


class Stack(nn.Module):
    """A stack with one quirk."""

    def __init__(self, quirk: str = "") -> None:
        super().__init__()
        self.config = SimpleNamespace(vocab_size=VOCABULARY)
        self.quirk = quirk
        self.running = False
        self.skipped = ""
        self.embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block(quirk == "writes into its input") for _ in range(LAYERS - 1))

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, output_hidden_states: bool = False, return_dict: bool = True
    ) -> BaseModelOutput:
        self.running = self.quirk == "resets at its end"
        states, every = self.embeddings(input_ids), []
        for place, block in enumerate(self.blocks):
            every.append(states)
            if self.quirk == "scales between" and place == 2:
                states = states * 2
            if self.quirk == "drops between":
                states = F.dropout(states, 0.5, self.training)
            states = self._run(block, states, str(place))
        self.running = False
        every.append(states)
        return BaseModelOutput(states, tuple(every) if output_hidden_states else None)

    def _run(self, block: nn.Module, states: Tensor, name: str) -> Tensor:
        if name == self.skipped:
            return states
        missing = -states.shape[1] % 8 if self.quirk == "pads to eight" else 0
        if self.quirk == "catches" and name == "3":
            try:
                return block(states)
            except Exception:
                return states
        return block(F.pad(states, (0, 0, 0, missing)))[:, : states.shape[1]]


def batch_of(tokens: int = 7) -> Batch:
    ids = torch.arange(3 * tokens).reshape(3, tokens) % VOCABULARY
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    return Batch(ids, mask)


@contextmanager
def counted(module: nn.Module) -> Iterator[list[int]]:
    """Count a module's calls."""
    calls: list[int] = []
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    try:
        yield calls
    finally:
        handle.remove()


def read(stack: Stack, reader: LayerReader, layers: set[int]) -> tuple[dict[int, Tensor], int]:
    """Return the states by layer, and how often the stack was run."""
    padded, runs = right_pad(batch_of()), []

    def run(hidden_states: bool) -> BaseModelOutput:
        runs.append(hidden_states)
        return stack(**padded.batch.inputs(), output_hidden_states=hidden_states)

    return dict(reader.read(stack, run, padded, Request(frozenset(layers))).hidden), len(runs)


# Quirk -> the layers that enter a block.
QUIRKS = {
    "": {-5, -4, -3, -2},
    "scales between": {-5, -4, -2},
    "writes into its input": set(),
    "resets at its end": set(),
    "catches": {-5, -4, -3, -2},
    "pads to eight": {-5, -4, -3, -2},
}


@torch.no_grad()
@pytest.mark.parametrize("quirk", QUIRKS)
def test_states_are_those_of_a_whole_pass(quirk: str) -> None:
    stack = Stack(quirk).eval()
    reader = observe_reader(stack, LAYERS)
    assert set(reader.entries) == QUIRKS[quirk]
    expected = stack(**right_pad(batch_of()).batch.inputs(), output_hidden_states=True).hidden_states
    for layer in range(-LAYERS, 0):
        found, runs = read(stack, reader, {layer})
        assert torch.equal(found[layer], expected[layer]), layer
        assert runs == (2 if quirk == "pads to eight" and layer != -1 else 1), layer
    assert not stack.running
    assert not any(part._forward_pre_hooks for part in stack.modules())


@torch.no_grad()
def test_a_skipped_block_is_read_from_the_output() -> None:
    stack = Stack().eval()
    reader = observe_reader(stack, LAYERS)
    stack.skipped = "2"
    expected = stack(**right_pad(batch_of()).batch.inputs(), output_hidden_states=True).hidden_states
    found, runs = read(stack, reader, {-3, -4})
    assert runs == 2
    assert all(torch.equal(found[layer], expected[layer]) for layer in (-3, -4))


def test_in_training_mode_a_dropout_between_blocks_is_not_read_with_the_layer() -> None:
    stack = Stack("drops between").eval()
    reader = observe_reader(stack, LAYERS)
    assert len(reader.entries) == LAYERS - 1
    stack.train()
    torch.manual_seed(3)
    expected = stack(**right_pad(batch_of()).batch.inputs(), output_hidden_states=True).hidden_states
    torch.manual_seed(3)
    found, _ = read(stack, reader, {-3})
    assert torch.equal(found[-3], expected[-3])


@torch.no_grad()
def test_a_compiled_block_is_read_from_the_output() -> None:
    stack = Stack().eval()
    reader = observe_reader(stack, LAYERS)
    stack.blocks[3]._compiled_call_impl = stack.blocks[3]._call_impl  # as after compile()
    with counted(stack.blocks[3]) as calls:
        read(stack, reader, {-4})
    assert len(calls) == 1


@torch.no_grad()
def test_a_pass_of_another_thread_runs_to_its_end() -> None:
    model = BY_NAME["gpt2"].build()
    reader = observe_reader(model.transformer, 4)
    padded = right_pad(batch_of())
    alone = model(**padded.batch.inputs()).logits
    others: list[Tensor] = []

    def run(hidden_states: bool) -> object:
        thread = threading.Thread(target=lambda: others.append(model(**padded.batch.inputs()).logits))
        thread.start()
        thread.join()
        return model.transformer(**padded.batch.inputs(), output_hidden_states=hidden_states)

    reader.read(model.transformer, run, padded, Request(frozenset({-3})))
    assert torch.equal(others[0], alone)


@torch.no_grad()
def test_a_pass_is_not_given_the_output_of_another_thread() -> None:
    backbone = Backbone(BY_NAME["bert"].build()).eval()
    top, other = Request(frozenset({-1, -2})), Batch(torch.full((3, 7), 9), torch.ones((3, 7), dtype=torch.int64))
    alone = backbone(batch_of(), top)[0].hidden
    main = threading.get_ident()

    def meanwhile(*_: object) -> None:
        if threading.get_ident() == main:
            thread = threading.Thread(target=lambda: backbone(other, top))
            thread.start()
            thread.join()

    handles = [part.register_forward_hook(meanwhile) for part in (backbone.blocks()[0], backbone.model)]
    found = backbone(batch_of(), top)[0].hidden
    for handle in handles:
        handle.remove()
    assert all(torch.equal(found[layer], alone[layer]) for layer in alone)
