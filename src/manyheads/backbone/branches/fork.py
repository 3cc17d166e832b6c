"""The fork: a trainable copy of the stack's top blocks, and of what follows them, that only heads read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from manyheads.backbone.branches.branch import Branch, sharing_copy
from manyheads.backbone.stack.find import find_blocks
from manyheads.backbone.stack.outputs import layer_of, states_of
from manyheads.backbone.stack.probe import evaluating, forward_settings, probe, probe_batch
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.errors import BackboneError
from manyheads.types import Request, States


class ForkBranch(Branch):
    """A copy of the top blocks.

    It runs in two ways that agree bit for bit: whole, from the token ids on; and from the backbone's hidden states
    below the fork, wherever those are known already, for the price of the top blocks alone. In the second, the stack's
    own code runs, with masks and positions, on blocks below the fork that do nothing.

    Attributes:
        top: Number of blocks copied.
        entry: The layer whose hidden states enter the fork, as a negative index; 0 where no layer's do.
        upper: The same blocks with those below doing nothing, or ``None`` where the fork can only run whole.
    """

    kind: ClassVar[str] = "fork"

    def __init__(
        self, stack: nn.Module, pooler: nn.Module | None, layers: int, top: int, unread: nn.Module | None = None
    ) -> None:
        """Fork a stack.

        Args:
            stack: The backbone's.
            pooler: One that lies beside it.
            layers: Number of its hidden states.
            top: Number of blocks to copy.
            unread: A part behind the blocks that nobody may read, such as a random pooler, and that is not copied.

        Raises:
            BackboneError: a stack without blocks that can be told apart, or with too few.
        """
        blocks = top_blocks(stack, layers, top)
        following = [parameter for part in modules_after(stack, blocks[-1]) for parameter in part.parameters()]
        below = {id(parameter) for block in find_blocks(stack, layers - 1)[:-top] for parameter in block.parameters()}
        own = [*(parameter for block in blocks for parameter in block.parameters()), *following]
        left = below if unread is None else below | {id(parameter) for parameter in unread.parameters()}
        own = [parameter for parameter in own if id(parameter) not in left]
        whole = sharing_copy(stack, own)
        super().__init__(whole, None if pooler is None else sharing_copy(pooler, pooler.parameters()), layers)
        self.top = top
        self.entry = _entry_layer(whole, layers, top)
        shared = {id(parameter) for parameter in stack.parameters()}
        self._own = tuple(name for name, parameter in whole.named_parameters() if id(parameter) not in shared)
        self.upper = _upper(whole, layers, top, self.entry)

    def settings(self) -> dict[str, Any]:
        """Return the number of blocks."""
        return {"top": self.top}

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Return the copied parameters by their names in the stack, and those of a pooler beside it."""
        held = dict(self.stack.named_parameters())
        own = {name: held[name] for name in self._own}
        beside = {} if self.pooler is None else dict(self.pooler.named_parameters())
        return own | {f"pooler_beside.{name}": parameter for name, parameter in beside.items()}

    def entry_layers(self, request: Request) -> frozenset[int]:
        """Return the entry, and what is read at or below it."""
        if self.upper is None:
            return frozenset()
        return frozenset({self.entry, *self._below(request)})

    def stacks(self) -> list[nn.Module]:
        """Return the whole stack, and the one that starts at the entry."""
        return [self.stack] if self.upper is None else [self.stack, self.upper]

    def tuned_parts(self) -> list[nn.Module]:
        """Return the modules that training is to put in training mode; all others stay in eval mode."""
        parts: list[nn.Module] = [] if self.pooler is None else [self.pooler]
        for stack in self.stacks():
            blocks = find_blocks(stack, self.layers - 1)[-self.top :]
            parts += [*blocks, *modules_after(stack, blocks[-1])]
        return parts

    def resume_from_states(self, padded: RightPadded, request: Request, known: Mapping[int, Tensor]) -> States:
        """Run the top blocks alone; see :meth:`Branch.resume_from_states`."""
        assert self.upper is not None
        above = Request(request.layers - self._below(request), request.pooled)
        output = enter(self.upper, self.layers, self.top, padded, known[self.entry], bool(above.layers - {-1}))
        states = states_of(output, padded, above, self.pooler, self.layers)
        below = {layer: known[layer] for layer in self._below(request)}
        return replace(states, hidden={**states.hidden, **below})

    def _below(self, request: Request) -> frozenset[int]:
        return frozenset(layer for layer in request.layers if layer <= self.entry)


def top_blocks(stack: nn.Module, layers: int, top: int) -> Sequence[nn.Module]:
    """Return the top blocks of a stack, the lowest first.

    Raises:
        BackboneError: it has fewer, or none that can be told apart.
    """
    blocks = find_blocks(stack, layers - 1)
    if top > len(blocks):
        raise BackboneError(f"{type(stack).__name__}: has {len(blocks)} blocks, so there are no top {top}")
    return list(blocks)[-top:]


def modules_after(stack: nn.Module, block: nn.Module) -> list[nn.Module]:
    """Return the modules that a forward of the stack first calls once a block is done, such as a final norm or a
    pooler; found by running it on a few tokens."""
    begun: dict[nn.Module, None] = {}
    late: dict[nn.Module, None] = {}
    done: list[bool] = []

    def begin(module: nn.Module, _: Any) -> None:
        if not done:
            begun.setdefault(module)
        elif module not in begun:
            late.setdefault(module)

    inside = set(block.modules()) | {stack}
    handles = [module.register_forward_pre_hook(begin) for module in stack.modules() if module not in inside]
    handles.append(block.register_forward_hook(lambda *_: done.append(True)))
    try:
        probe(stack)
    finally:
        for handle in handles:
            handle.remove()
    nested = {inner for module in late for inner in module.modules() if inner is not module}
    return [module for module in late if module not in nested]


class PassThrough:
    """What a block below the fork does: hand on what it got, in the form that such a block returns.

    Attributes:
        items: For each further item of the tuple that such a block returns, which of its arguments that was, by place
            or name, or ``None``; for a block that returns a bare tensor, ``None`` in all.
    """

    def __init__(self, items: Sequence[int | str | None] | None) -> None:
        self.items = items

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the hidden states unchanged, in the form in which the block returns its own output."""
        hidden_states = args[0] if args else kwargs["hidden_states"]
        if self.items is None:
            return hidden_states
        given = _by_place(args, kwargs)
        return (hidden_states, *[None if item is None else given.get(item) for item in self.items])


def _by_place(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[int | str, Any]:
    given: dict[int | str, Any] = dict(enumerate(args))
    return given | dict(kwargs)


def enter(
    upper: nn.Module, layers: int, top: int, arranged: RightPadded, hidden_states: Tensor, hidden_layers: bool
) -> Any:
    """Run a stack whose lower blocks do nothing, with these hidden states in place of what they hand on."""
    below = find_blocks(upper, layers - 1)[-top - 1]
    with _handing_on(below, hidden_states):
        return upper(**arranged.batch.inputs(), **forward_settings(upper, hidden_layers))


@contextmanager
def _handing_on(block: nn.Module, hidden_states: Tensor) -> Iterator[None]:
    """Let a block hand on other hidden states than it computed, by a hook that is gone afterwards.

    The block below the fork has it, not the lowest of the fork's own: that one may be computed again in a backward,
    when no hook is left.
    """

    def swap(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        return (hidden_states, *output[1:]) if isinstance(output, tuple) else hidden_states

    handle = block.register_forward_hook(swap)
    try:
        yield
    finally:
        handle.remove()


def _entry_layer(stack: nn.Module, layers: int, top: int) -> int:
    """Return the layer whose hidden states the lowest of the top blocks is given, as a negative index; 0 if none is.

    It is seen, not counted: in some families (Mamba) the first of the hidden states is the first block's output.
    """
    given: list[Tensor] = []
    handle = top_blocks(stack, layers, top)[0].register_forward_pre_hook(
        lambda _, args, kwargs: given.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    try:
        output = probe(stack, hidden_states=True)
    finally:
        handle.remove()
    states = output.hidden_states or ()
    return next((at for at in range(-1, -len(states) - 1, -1) if torch.equal(states[at], given[0])), 0)


def _upper(whole: nn.Module, layers: int, top: int, entry: int) -> nn.Module | None:
    """Return the stack with blocks below the fork that do nothing, or ``None`` where it would compute otherwise.

    In some families the lowest block also makes something that all others read (T5's position bias): then that one
    does run, and what it makes of the texts is not used.
    """
    blocks = find_blocks(whole, layers - 1)
    if not entry or len(blocks) == top:
        return None
    items = _returned_items(blocks[min(1, len(blocks) - 1)], whole)
    for kept in (0, 1):
        upper = sharing_copy(whole)
        for block in list(find_blocks(upper, layers - 1))[kept:-top]:
            block.forward = PassThrough(items)
        if _agree(whole, upper, layers, top, entry):
            return upper
    return None


def _returned_items(block: nn.Module, stack: nn.Module) -> list[int | str | None] | None:
    """Return what a block hands back beside hidden states, as :class:`PassThrough` takes it."""
    found: list[list[int | str | None] | None] = []

    def look(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not isinstance(output, tuple):
            found.append(None)
            return
        given = _by_place(args, kwargs)
        places = [[place for place, value in given.items() if value is item] for item in output[1:]]
        found.append([at[0] if at else None for at in places])

    handle = block.register_forward_hook(look, with_kwargs=True)
    try:
        probe(stack)
    finally:
        handle.remove()
    return found[0]


def _agree(whole: nn.Module, upper: nn.Module, layers: int, top: int, entry: int) -> bool:
    """Tell whether both ways through a fork give the same bits on a few tokens, padding among them."""
    arranged = probe_batch(whole)
    with evaluating(whole), evaluating(upper):
        expected = whole(**arranged.batch.inputs(), **forward_settings(whole, hidden_states=True))
        known = layer_of(expected, entry, layers)
        try:
            found = enter(upper, layers, top, arranged, known, hidden_layers=True)
        except (TypeError, ValueError, RuntimeError, AttributeError, IndexError):
            return False  # its blocks need more than hidden states from those below
    return all(torch.equal(layer_of(expected, at, layers), layer_of(found, at, layers)) for at in range(entry + 1, 0))
