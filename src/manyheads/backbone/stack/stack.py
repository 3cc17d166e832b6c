"""Find the stack of blocks that heads read, and find out about it by running it once on a few tokens.

What a tap must know (widths, number of layers, whether attention is causal) is observed, not concluded from class or
config names, so that an architecture nobody here has heard of is read rightly too.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from manyheads.backbone.stack.right_padding import RightPadded, right_pad
from manyheads.backbone.vocabulary import rows_of
from manyheads.errors import BackboneError
from manyheads.types import Batch

# A state that changes by less than this, relative to the largest, did not see the token that changed.
_UNSEEN = 1e-4
_PROBE_TOKENS = 8


@dataclass(frozen=True)
class Observed:
    """What one small forward showed.

    Attributes:
        widths: Size of each hidden state, the embeddings' output first.
        causal: Whether the first token's state ignores the last token.
    """

    widths: tuple[int, ...]
    causal: bool


def find_stack(model: nn.Module) -> nn.Module:
    """Return the module whose ``last_hidden_state`` heads read: the encoder of an encoder-decoder, else the innermost
    model that the language model itself calls (OPT's skips its own base model).

    Raises:
        BackboneError: nothing that takes ``input_ids``.
    """
    if model.config.is_encoder_decoder:  # type: ignore[union-attr]
        stack = model.get_encoder()  # type: ignore[operator]
    else:
        base = model.base_model
        stack = base.get_decoder() if hasattr(base, "get_decoder") else base  # type: ignore[operator]
        if "input_ids" not in accepted(stack):
            stack = base
    if not isinstance(stack, nn.Module) or "input_ids" not in accepted(stack):
        raise BackboneError(f"{type(model).__name__}: no stack of layers that takes input_ids was found")
    return stack


def find_blocks(stack: nn.Module, count: int) -> nn.ModuleList:
    """Return the stack's blocks: the list of that many modules of one class.

    Raises:
        BackboneError: there is none, as where all layers share one block (ALBERT).
    """
    for module in stack.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and len({type(block) for block in module}) == 1:
            return module
    raise BackboneError(
        f"{type(stack).__name__}: its {count} layers are no list of blocks of one class (they may share one), so "
        "single layers cannot be tuned; leave top out"
    )


def accepted(module: object) -> frozenset[str]:
    """Return the names that a module's ``forward`` declares."""
    forward = getattr(module, "forward", None)
    return frozenset(inspect.signature(forward).parameters) if forward is not None else frozenset()


def switches(module: nn.Module, hidden_states: bool) -> dict[str, bool]:
    """Return the settings that every forward of ours gives: no cache to fill, and all layers only if asked for."""
    wanted = {"use_cache": False, "return_dict": True, "output_hidden_states": hidden_states}
    declared = accepted(module)
    # Families that leave these to **kwargs still honour the last two.
    return {name: value for name, value in wanted.items() if name in declared or name != "use_cache"}


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Switch every submodule to eval mode, and each back to its own mode afterwards; build no graph."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def observe(stack: nn.Module, vocabulary: int) -> Observed:
    """Run two rows of four tokens that differ in the last one."""
    device = next(stack.parameters()).device
    first = [vocabulary // 2, vocabulary // 3, vocabulary // 4]
    ids = torch.tensor([[*first, vocabulary // 5], [*first, vocabulary // 6]], device=device)
    if int(ids[0, 3]) == int(ids[1, 3]):
        raise BackboneError(f"{type(stack).__name__}: a vocabulary of {vocabulary} is too small to be a language")
    with evaluating(stack):
        output = stack(input_ids=ids, attention_mask=torch.ones_like(ids), **switches(stack, hidden_states=True))
    last: Tensor = output.last_hidden_state
    states = output.hidden_states
    widths = (*(state.shape[-1] for state in states[:-1]), last.shape[-1]) if states else (last.shape[-1],)
    moved = (last[0, 0] - last[1, 0]).abs().max()
    return Observed(widths, bool(moved <= _UNSEEN * last.abs().max()))


def probe(stack: nn.Module, hidden_states: bool = False) -> Any:
    """Run a stack on :func:`probe_batch`, and return its output."""
    with evaluating(stack):
        return stack(**probe_batch(stack).batch.inputs(), **switches(stack, hidden_states))


def probe_batch(stack: nn.Module) -> RightPadded:
    """Return two rows of different tokens, the second of them shorter."""
    vocabulary = rows_of(stack)
    device = next(stack.parameters()).device
    ids = (torch.arange(2 * _PROBE_TOKENS, device=device) * 7 + vocabulary // 3) % vocabulary
    mask = torch.ones((2, _PROBE_TOKENS), dtype=torch.int64, device=device)
    mask[1, _PROBE_TOKENS // 2 :] = 0
    return right_pad(Batch(ids.reshape(2, _PROBE_TOKENS), mask))
