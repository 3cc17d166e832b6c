"""The fork: a trainable copy of the stack's top blocks, and of the modules after them, that only heads read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from manyheads.backbone.branches.branch import Branch, sharing_copy
from manyheads.backbone.stack.find import find_blocks
from manyheads.backbone.stack.hooks import in_this_thread
from manyheads.backbone.stack.layer_reader import LayerReader
from manyheads.backbone.stack.outputs import block_input, layer_of
from manyheads.backbone.stack.probe import evaluating, forward_settings, probe, probe_batch
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.errors import BackboneError
from manyheads.types import Request, States

# The items after the hidden states in a block's output: for each, the argument it repeats (by position or name) or
# None; None in all if the block returns a bare tensor.
_OutputItems = Sequence[int | str | None] | None


class ForkBranch(Branch):
    """A copy of the top blocks.

    It runs in two ways that agree bit for bit: whole, from token ids, or from the backbone's hidden states below the
    fork, at the cost of the top blocks alone. The second way runs the stack's own code, with its masks and positions,
    on lower blocks that are replaced by ``PassThrough``.

    Attributes:
        top: Number of copied blocks.
        entry: Layer whose hidden states enter the fork, as a negative index; 0 if there is none.
        upper: The stack with pass-through lower blocks, or ``None`` if the fork can only run whole.
    """

    kind: ClassVar[str] = "fork"

    def __init__(
        self, stack: nn.Module, pooler: nn.Module | None, reader: LayerReader, top: int, unread: nn.Module | None = None
    ) -> None:
        """Fork a stack.

        Args:
            stack: The backbone's stack.
            pooler: A pooler outside the stack.
            reader: Reads the stack's hidden states by layer.
            top: Number of blocks to copy.
            unread: A module after the blocks that is not copied, such as an untrained pooler.

        Raises:
            BackboneError: the stack has fewer blocks, or no separate blocks.
        """
        layers = reader.layers
        blocks = top_blocks(stack, layers, top)
        following = [parameter for part in modules_after(stack, blocks[-1]) for parameter in part.parameters()]
        below = {id(parameter) for block in find_blocks(stack, layers - 1)[:-top] for parameter in block.parameters()}
        own = [*(parameter for block in blocks for parameter in block.parameters()), *following]
        excluded = below if unread is None else below | {id(parameter) for parameter in unread.parameters()}
        own = [parameter for parameter in own if id(parameter) not in excluded]
        whole = sharing_copy(stack, own)
        super().__init__(whole, None if pooler is None else sharing_copy(pooler, pooler.parameters()), reader)
        self.top = top
        self.entry = _entry_layer(whole, layers, top)
        shared = {id(parameter) for parameter in stack.parameters()}
        self._own = tuple(name for name, parameter in whole.named_parameters() if id(parameter) not in shared)
        self.upper = _upper_stack(whole, layers, top, self.entry)

    def settings(self) -> dict[str, Any]:
        """Return the number of blocks."""
        return {"top": self.top}

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the copied parameters by their names in the stack, and those of a separate pooler."""
        parameters = dict(self.stack.named_parameters())
        own = {name: parameters[name] for name in self._own}
        pooler = {} if self.pooler is None else dict(self.pooler.named_parameters())
        return own | {f"pooler_beside.{name}": parameter for name, parameter in pooler.items()}

    def entry_layers(self, request: Request) -> frozenset[int]:
        """Return the entry and the requested layers at or below it."""
        if self.upper is None:
            return frozenset()
        return frozenset({self.entry, *self._below(request)})

    def stacks(self) -> list[nn.Module]:
        """Return the whole stack, and the stack that starts at the entry."""
        return [self.stack] if self.upper is None else [self.stack, self.upper]

    def tuned_parts(self) -> list[nn.Module]:
        """Return the modules that are put in training mode during training; all others stay in eval mode."""
        parts: list[nn.Module] = [] if self.pooler is None else [self.pooler]
        for stack in self.stacks():
            blocks = find_blocks(stack, self.layers - 1)[-self.top :]
            parts += [*blocks, *modules_after(stack, blocks[-1])]
        return parts

    def resume_from_states(self, padded: RightPadded, request: Request, known: Mapping[int, Tensor]) -> States:
        """Run the top blocks alone, up to the highest requested layer; see ``Branch.resume_from_states``."""
        assert self.upper is not None
        run = partial(_run_upper, self.upper, self.layers, self.top, padded, known[self.entry])
        above = Request(request.layers - self._below(request), request.pooled)
        states = self.reader.read(self.upper, run, padded, above, self.pooler)
        below = {layer: known[layer] for layer in self._below(request)}
        return replace(states, hidden={**states.hidden, **below})

    def _below(self, request: Request) -> frozenset[int]:
        return frozenset(layer for layer in request.layers if layer <= self.entry)


def top_blocks(stack: nn.Module, layers: int, top: int) -> Sequence[nn.Module]:
    """Return the top blocks of a stack, the lowest first.

    Raises:
        BackboneError: the stack has fewer blocks, or no separate blocks.
    """
    blocks = find_blocks(stack, layers - 1)
    if top > len(blocks):
        raise BackboneError(f"{type(stack).__name__}: has {len(blocks)} blocks, so there are no top {top}")
    return list(blocks)[-top:]


def modules_after(stack: nn.Module, block: nn.Module) -> list[nn.Module]:
    """Return the modules that a forward of the stack first calls after a block, such as the final norm or a pooler.

    They are found by running the stack on a few tokens.
    """
    before: dict[nn.Module, None] = {}
    after: dict[nn.Module, None] = {}
    block_done: list[bool] = []

    def record(module: nn.Module, _: Any) -> None:
        if not block_done:
            before.setdefault(module)
        elif module not in before:
            after.setdefault(module)

    inside = set(block.modules()) | {stack}
    handles = [module.register_forward_pre_hook(record) for module in stack.modules() if module not in inside]
    handles.append(block.register_forward_hook(lambda *_: block_done.append(True)))
    try:
        probe(stack)
    finally:
        for handle in handles:
            handle.remove()
    nested = {inner for module in after for inner in module.modules() if inner is not module}
    return [module for module in after if module not in nested]


class PassThrough:
    """The forward of a block below the fork: return the input, in the form of the block's own output.

    Attributes:
        items: For each item after the hidden states in the block's output, the argument it repeats, by position or
            name, or ``None``; ``None`` in all if the block returns a bare tensor.
    """

    def __init__(self, items: _OutputItems) -> None:
        self.items = items

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the hidden states unchanged."""
        hidden_states = block_input(args, kwargs)
        if self.items is None:
            return hidden_states
        arguments = _by_position_or_name(args, kwargs)
        return (hidden_states, *[None if item is None else arguments.get(item) for item in self.items])


def _by_position_or_name(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[int | str, Any]:
    arguments: dict[int | str, Any] = dict(enumerate(args))
    return arguments | dict(kwargs)


def _run_upper(upper: nn.Module, layers: int, top: int, padded: RightPadded, entry: Tensor, hidden_states: bool) -> Any:
    """Run a stack with pass-through lower blocks, from the states that enter its top blocks."""
    below = find_blocks(upper, layers - 1)[-top - 1]
    with _returning(below, entry):
        return upper(**padded.batch.inputs(), **forward_settings(upper, hidden_states))


@contextmanager
def _returning(block: nn.Module, hidden_states: Tensor) -> Iterator[None]:
    """Replace the hidden states that a block returns, by a forward hook.

    The hook is on the block below the fork, since the fork's own lowest block may be recomputed in the backward, after
    the hook is removed.
    """

    def swap(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return (hidden_states, *output[1:]) if isinstance(output, tuple) else hidden_states

    handle = block.register_forward_hook(in_this_thread(swap))
    try:
        yield
    finally:
        handle.remove()


def _entry_layer(stack: nn.Module, layers: int, top: int) -> int:
    """Return the layer whose hidden states enter the top blocks, as a negative index; 0 if there is none.

    It is observed, not counted: in some families (Mamba) the first hidden state is the first block's output.
    """
    inputs: list[Tensor] = []
    handle = top_blocks(stack, layers, top)[0].register_forward_pre_hook(
        lambda _, args, kwargs: inputs.append(block_input(args, kwargs)), with_kwargs=True
    )
    try:
        output = probe(stack, hidden_states=True)
    finally:
        handle.remove()
    states = output.hidden_states or ()
    return next((layer for layer in range(-1, -len(states) - 1, -1) if torch.equal(states[layer], inputs[0])), 0)


def _upper_stack(whole: nn.Module, layers: int, top: int, entry: int) -> nn.Module | None:
    """Return the stack with pass-through lower blocks, or ``None`` if its output would differ.

    In some families the lowest block also computes a value for all others (T5's position bias). That block is then
    kept, and its hidden states are discarded.
    """
    blocks = find_blocks(whole, layers - 1)
    if not entry or len(blocks) == top:
        return None
    items = _output_items(blocks[min(1, len(blocks) - 1)], whole)
    for kept in (0, 1):
        upper = sharing_copy(whole)
        for block in list(find_blocks(upper, layers - 1))[kept:-top]:
            block.forward = PassThrough(items)
        if _agree(whole, upper, layers, top, entry):
            return upper
    return None


def _output_items(block: nn.Module, stack: nn.Module) -> _OutputItems:
    """Return the items after the hidden states in a block's output, in the form of ``PassThrough``."""
    found: list[_OutputItems] = []

    def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not isinstance(output, tuple):
            found.append(None)
            return
        arguments = _by_position_or_name(args, kwargs)
        repeated = [[key for key, value in arguments.items() if value is item] for item in output[1:]]
        found.append([keys[0] if keys else None for keys in repeated])

    handle = block.register_forward_hook(record, with_kwargs=True)
    try:
        probe(stack)
    finally:
        handle.remove()
    return found[0]


def _agree(whole: nn.Module, upper: nn.Module, layers: int, top: int, entry: int) -> bool:
    """Return whether both ways through a fork give the same bits on a few tokens, some of them padding."""
    padded = probe_batch(whole)
    with evaluating(whole), evaluating(upper):
        expected = whole(**padded.batch.inputs(), **forward_settings(whole, hidden_states=True))
        known = layer_of(expected, entry, layers)
        try:
            found = _run_upper(upper, layers, top, padded, known, hidden_states=True)
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
            return False  # The blocks need more than hidden states from the lower ones.
    above = range(entry + 1, 0)
    return all(torch.equal(layer_of(expected, layer, layers), layer_of(found, layer, layers)) for layer in above)
