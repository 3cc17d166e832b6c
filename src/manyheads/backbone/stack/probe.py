"""Observe a stack by running it on a few tokens.

Widths, number of layers and causality are observed, not inferred from class or config names, so that unknown
architectures work too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.module_state import kept_state
from manyheads.backbone.stack.right_padding import RightPadded, right_pad
from manyheads.backbone.vocabulary import vocabulary_size
from manyheads.errors import BackboneError, one_line
from manyheads.types import Batch

# A state that changes by less than this fraction of the largest value does not depend on the changed token.
_UNCHANGED = 1e-4
_PROBE_TOKENS = 8


@dataclass(frozen=True)
class Observed:
    """Facts about a stack, observed in one small forward pass.

    Attributes:
        widths: Size of each hidden state, the embeddings' output first.
        causal: Whether the first token's state is independent of the last token.
    """

    widths: tuple[int, ...]
    causal: bool


def forward_arguments(module: object) -> frozenset[str]:
    """Return the parameter names of a module's ``forward``."""
    forward = getattr(module, "forward", None)
    if forward is None:
        return frozenset()
    # Of a method, which all modules of a class share, they are kept: each pass asks several times.
    method = getattr(forward, "__func__", None)
    return frozenset(inspect.signature(forward).parameters) if method is None else _method_arguments(method)


@lru_cache(maxsize=256)
def _method_arguments(method: Callable[..., Any]) -> frozenset[str]:
    """Return the parameter names of a function, without the first one, ``self``."""
    return frozenset(list(inspect.signature(method).parameters)[1:])


def forward_settings(module: nn.Module, hidden_states: bool) -> dict[str, bool]:
    """Return the settings for a forward pass without a cache, with all hidden states only if requested."""
    wanted = {"use_cache": False, "return_dict": True, "output_hidden_states": hidden_states}
    declared = forward_arguments(module)
    # Families that take the last two through **kwargs honor them too.
    return {name: value for name, value in wanted.items() if name in declared or name != "use_cache"}


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put every submodule in eval mode and disable gradients, then restore each submodule's own mode."""
    training = [part for part in module.modules() if part.training]
    if training:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


def observe(stack: nn.Module, vocabulary: int) -> Observed:
    """Run two rows of four tokens that differ in the last token.

    Args:
        stack: The stack to run.
        vocabulary: Number of token ids it has embeddings for.

    Raises:
        BackboneError: the vocabulary is too small for two different rows.
    """
    device = next(stack.parameters()).device
    first = [vocabulary // 2, vocabulary // 3, vocabulary // 4]
    ids = torch.tensor([[*first, vocabulary // 5], [*first, vocabulary // 6]], device=device)
    if int(ids[0, 3]) == int(ids[1, 3]):
        raise BackboneError(f"{type(stack).__name__}: a vocabulary of {vocabulary} is too small to be a language")
    with evaluating(stack):
        try:
            output = stack(
                input_ids=ids, attention_mask=torch.ones_like(ids), **forward_settings(stack, hidden_states=True)
            )
        except Exception as error:  # whatever its code raises
            raise BackboneError(f"{type(stack).__name__}: cannot run a text of 4 tokens: {one_line(error)}") from error
    last: Tensor = output.last_hidden_state
    states = output.hidden_states
    widths = (*(state.shape[-1] for state in states[:-1]), last.shape[-1]) if states else (last.shape[-1],)
    change = (last[0, 0] - last[1, 0]).abs().max()
    return Observed(widths, bool(change <= _UNCHANGED * last.abs().max()))


def probe(stack: nn.Module, hidden_states: bool = False) -> Any:
    """Run a stack on ``probe_batch`` in eval mode and return its output."""
    with evaluating(stack), kept_state(stack):
        return stack(**probe_batch(stack).batch.inputs(), **forward_settings(stack, hidden_states))


def probe_batch(stack: nn.Module) -> RightPadded:
    """Return two rows of different tokens, the second row padded."""
    vocabulary = vocabulary_size(stack)
    device = next(stack.parameters()).device
    ids = (torch.arange(2 * _PROBE_TOKENS, device=device) * 7 + vocabulary // 3) % vocabulary
    mask = torch.ones((2, _PROBE_TOKENS), dtype=torch.int64, device=device)
    mask[1, _PROBE_TOKENS // 2 :] = 0
    return right_pad(Batch(ids.reshape(2, _PROBE_TOKENS), mask))
