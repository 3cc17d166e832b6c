"""From a stack's output to the states that heads read."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from manyheads.backbone.stack.right_padding import RightPadded
from manyheads.errors import BackboneError
from manyheads.types import Request, States


def states_of(output: Any, padded: RightPadded, request: Request, pooler: nn.Module | None, layers: int) -> States:
    """Return the requested states of a stack's output.

    Args:
        output: The stack's output, as transformers returns it.
        padded: The batch that the stack ran on.
        request: The states that taps need.
        pooler: A pooler outside the stack.
        layers: Expected number of hidden states.
    """
    hidden = {layer: layer_of(output, layer, layers) for layer in request.layers}
    pooled: Tensor | None = None
    if request.pooled:
        pooled = output.pooler_output if pooler is None else pooler(output.last_hidden_state)
    return States(hidden, padded.mask, padded.batch.input_ids, pooled, words=padded.words)


def layer_of(output: Any, layer: int, layers: int) -> Tensor:
    """Return a hidden state by its negative index; -1 is the last hidden state, after the final norm.

    Raises:
        BackboneError: the output does not have the expected number of hidden states.
    """
    if layer == -1:
        last: Tensor = output.last_hidden_state
        return last
    states = output.hidden_states
    if states is None or len(states) != layers:
        raise BackboneError(f"hidden_states: expected {layers} layers, got {len(states) if states else 0}")
    chosen: Tensor = states[layer]
    return chosen
