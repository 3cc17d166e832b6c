"""Hidden states in a stack's output, and in the arguments of its blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from manyheads.errors import BackboneError


def layer_of(output: Any, layer: int, layers: int) -> Tensor:
    """Return a hidden state by its negative index; -1 is the last hidden state, after the final norm.

    Args:
        output: The stack's output, as transformers returns it.
        layer: The negative index.
        layers: Expected number of hidden states.

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


def block_input(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the hidden states among the arguments of a block's forward; ``None`` if there are none."""
    return args[0] if args else kwargs.get("hidden_states")
