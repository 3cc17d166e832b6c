"""Read the hidden states of single layers without running the blocks above them.

In most architectures the hidden states of a layer are the input of one block. A hook takes them there, and the pass
ends at the highest requested layer: the blocks above it cost no time, and the states of other layers no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.hooks import in_this_thread
from manyheads.backbone.stack.module_state import ModuleState, kept_state
from manyheads.backbone.stack.outputs import block_input, layer_of
from manyheads.backbone.stack.probe import evaluating, forward_settings, probe_batch
from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.types import Request, States

# Runs a stack, perhaps inside its language model, and returns the stack's output; the argument is
# ``output_hidden_states``.
Run = Callable[[bool], Any]


class _LastLayerRead(BaseException):
    """Ends a pass; not an ``Exception``, which a model's own code may catch."""


@dataclass(frozen=True)
class LayerReader:
    """Reads hidden states by layer, from a stack or a copy of it.

    Attributes:
        layers: Number of hidden states, the embeddings' output included.
        entries: Layer, as a negative index -> name in the stack of the block whose input its hidden states are. All
            other layers are read from transformers' ``hidden_states``, after a pass through all blocks.
    """

    layers: int
    entries: Mapping[int, str]

    def read(
        self,
        stack: nn.Module,
        run: Run,
        padded: RightPadded,
        request: Request,
        pooler: nn.Module | None = None,
        to_end: bool = False,
    ) -> States:
        """Run a stack as far as the request needs, and return the requested states.

        Args:
            stack: The stack.
            run: Runs it on the batch.
            padded: The batch.
            request: Layers and pooler output; if there are none, nothing runs.
            pooler: A pooler outside the stack.
            to_end: Whether to run all blocks in any case.

        Raises:
            BackboneError: the output does not have the expected number of hidden states.
        """
        below = request.layers - {-1}
        to_end = to_end or request.pooled or -1 in request.layers
        found = self._at_blocks(stack, run, padded, below, to_end) if self._can_hook(stack, below) else None
        hidden, output = found or self._in_output(run, below, to_end)
        if -1 in request.layers:
            hidden[-1] = layer_of(output, -1, self.layers)
        pooled: Tensor | None = None
        if request.pooled:
            pooled = output.pooler_output if pooler is None else pooler(output.last_hidden_state)
        return States(hidden, padded.mask, padded.batch.input_ids, pooled, words=padded.words)

    def blocks_run(self, request: Request) -> int:
        """Return how many blocks run for the layers and pooler output of a request."""
        if request.pooled or not request.layers <= set(self.entries):
            return self.layers - 1
        return max((int(self.entries[layer].rpartition(".")[2]) for layer in request.layers), default=0)

    def _can_hook(self, stack: nn.Module, layers: frozenset[int]) -> bool:
        """Return whether hooks on blocks give these layers.

        A compiled module may ignore hooks. In training mode there may be a dropout between two blocks, which eval mode,
        in which the entries were observed, hides.
        """
        known = bool(layers) and layers <= set(self.entries)
        return known and not (stack.training or torch.compiler.is_compiling() or _is_compiled(stack))

    def _at_blocks(
        self, stack: nn.Module, run: Run, padded: RightPadded, layers: frozenset[int], to_end: bool
    ) -> tuple[dict[int, Tensor], Any] | None:
        """Return hidden states by layer, and the output of a pass to the end.

        Returns ``None`` if a block was skipped in this pass, or ran on padded or packed rows.
        """
        names = {self.entries[layer] for layer in layers}
        output = None
        with _recorded_inputs(stack, names, to_end) as inputs, suppress(_LastLayerRead):
            output = run(False)
        if any(name not in inputs or inputs[name].shape[:2] != padded.mask.shape for name in names):
            return None
        return {layer: inputs[self.entries[layer]] for layer in layers}, output

    def _in_output(self, run: Run, layers: frozenset[int], to_end: bool) -> tuple[dict[int, Tensor], Any]:
        """Return hidden states by layer, and the output of a pass to the end; nothing runs if nothing is needed."""
        if not layers and not to_end:
            return {}, None
        output = run(bool(layers))
        return {layer: layer_of(output, layer, self.layers) for layer in layers}, output


def observe_reader(stack: nn.Module, layers: int) -> LayerReader:
    """Return the reader of a stack, observed in two small forward passes.

    A layer enters a block if the block's input equals its hidden states bit for bit. The reader has no entries if a
    pass that ends early gives other states or leaves a change in the model.

    Args:
        stack: The stack.
        layers: Number of hidden states.
    """
    padded = probe_batch(stack)

    def run(hidden_states: bool) -> Any:
        return stack(**padded.batch.inputs(), **forward_settings(stack, hidden_states))

    with evaluating(stack), kept_state(stack):
        try:
            return _observed(stack, run, padded, layers) or LayerReader(layers, {})
        except Exception:  # whatever its code raises: an architecture may not accept padding
            return LayerReader(layers, {})


def _observed(stack: nn.Module, run: Run, padded: RightPadded, layers: int) -> LayerReader | None:
    """Return a reader that was compared with a whole pass, or ``None`` if it reads something else."""
    before = ModuleState(stack)
    # Copied, as a block may write into its input.
    with _recorded_inputs(stack, _block_names(stack, layers - 1), to_end=True, copied=True) as inputs:
        states = run(True).hidden_states or ()
    if len(states) != layers:
        return None
    entries = {layer: name for layer in range(-layers, -1) for name in _entered(inputs, states[layer])}
    reader = LayerReader(layers, entries)
    changes_itself = before.is_changed
    before.restore()
    read = reader.read(stack, run, padded, Request(frozenset(entries))).hidden
    agree = all(torch.equal(read[layer], states[layer]) for layer in entries)
    return reader if agree and (changes_itself or not before.is_changed) else None


def _block_names(stack: nn.Module, count: int) -> list[str]:
    """Return the names of the blocks: of the first list of so many modules; none without such a list."""
    lists = [(name, part) for name, part in stack.named_modules() if isinstance(part, nn.ModuleList)]
    return next(([f"{name}.{place}" for place in range(count)] for name, part in lists if len(part) == count), [])


def _entered(inputs: Mapping[str, Tensor], states: Tensor) -> list[str]:
    """Return the name of the first block with this input, as a list; empty if there is none."""
    return [name for name, value in inputs.items() if torch.equal(value, states)][:1]


@contextmanager
def _recorded_inputs(
    stack: nn.Module, names: Collection[str], to_end: bool, copied: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Record the hidden states that enter some blocks; end the pass when all are known, unless it runs ``to_end``."""
    inputs: dict[str, Tensor] = {}

    @in_this_thread
    def record(name: str, states: Any) -> None:
        if isinstance(states, Tensor):
            inputs.setdefault(name, states.clone() if copied else states)
        if len(inputs) == len(names) and not to_end:
            raise _LastLayerRead

    # Before other hooks, which may change the input.
    handles = [
        stack.get_submodule(name).register_forward_pre_hook(
            lambda _, args, kwargs, name=name: record(name, block_input(args, kwargs)), prepend=True, with_kwargs=True
        )
        for name in names
    ]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def _is_compiled(stack: nn.Module) -> bool:
    return any(part._compiled_call_impl is not None or "_orig_mod" in part._modules for part in stack.modules())
