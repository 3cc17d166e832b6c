"""Record the prefill of ``generate``: the hidden states of the prompts, in the pass that generation needs anyway."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from manyheads.backbone.stack.outputs import layer_of
from manyheads.errors import BackboneError


class Prefill:
    """Records hidden states of a batch of prompts while ``generate`` runs in this thread.

    The calls of the stack that belong to the prefill are recognized by their token ids. Each row may be repeated (one
    row per beam or returned sequence), the prompts may come in several chunks, and in a causal stack other tokens may
    follow them (candidates of assisted generation). What is not recognized leaves the record incomplete.

    Args:
        stack: The module whose hidden states heads read.
        prompts: Token ids (rows, tokens), padded as ``generate`` receives them.
        layers: Layers to record, as negative indices.
        count: Number of hidden states of the stack.
        causal: Whether a token attends only to earlier tokens.

    Attributes:
        repeats: Number of times that each row was repeated.
    """

    def __init__(self, stack: nn.Module, prompts: Tensor, layers: frozenset[int], count: int, causal: bool) -> None:
        self.repeats = 1
        self._stack = stack
        self._prompts = prompts
        self._layers = layers
        self._count = count
        self._causal = causal
        self._depth = _depth(stack)
        self._thread = threading.get_ident()
        self._parameters = inspect.signature(stack.forward)
        self._chunks: list[dict[int, Tensor]] = []
        self._handles: list[RemovableHandle] = []

    @property
    def complete(self) -> bool:
        """Whether the states of every token were recorded."""
        return self._recorded_tokens == self._prompts.shape[1]

    def take_hidden(self) -> dict[int, Tensor]:
        """Return layer -> hidden states (rows, tokens, width), in the layout of the prompts, and forget them.

        A generation may go on for long, and does not need them.
        """
        hidden = {layer: torch.cat([chunk[layer] for chunk in self._chunks], dim=1) for layer in self._layers}
        self._chunks = []
        return hidden

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the stack's calls in this thread."""
        self._thread = threading.get_ident()
        self._handles = [
            self._stack.register_forward_pre_hook(self._request_layers, with_kwargs=True),
            self._stack.register_forward_hook(self._record, with_kwargs=True),
        ]
        try:
            yield
        finally:
            self._remove_hooks()

    @property
    def _recorded_tokens(self) -> int:
        return sum(next(iter(chunk.values())).shape[1] for chunk in self._chunks)

    def _request_layers(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call of the prefill return every hidden state, if any but the last is recorded."""
        if self._layers <= {-1} or not self._tokens_of(args, kwargs):
            return None
        return args, {**kwargs, "output_hidden_states": True}

    def _record(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        tokens = self._tokens_of(args, kwargs)
        if not tokens:
            return
        try:
            found = {layer: layer_of(output, layer, self._count) for layer in self._layers}
        except (AttributeError, BackboneError):  # an error here would stop the generation
            self._remove_hooks()
            return
        self.repeats = len(next(iter(found.values()))) // len(self._prompts)
        self._chunks.append({layer: states[:: self.repeats, :tokens].clone() for layer, states in found.items()})
        if self.complete:
            self._remove_hooks()

    def _tokens_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
        """Return the number of tokens that a call reads of the prompts, after those recorded before."""
        # First of all: a graph that is being compiled cannot contain the other conditions.
        if torch.compiler.is_compiling():
            return 0
        if threading.get_ident() != self._thread or _depth(self._stack) != self._depth:
            return 0
        ids = self._parameters.bind_partial(*args, **kwargs).arguments.get("input_ids")
        if not isinstance(ids, Tensor) or ids.dim() != 2 or not len(ids) or len(ids) % len(self._prompts):
            return 0
        expected = self._prompts[:, self._recorded_tokens :].repeat_interleave(len(ids) // len(self._prompts), dim=0)
        tokens = min(ids.shape[1], expected.shape[1])
        follows = self._causal or ids.shape[1] == expected.shape[1]
        return tokens if follows and torch.equal(ids[:, :tokens], expected[:, :tokens]) else 0

    def _remove_hooks(self) -> None:
        for handle in self._handles:
            handle.remove()


def _depth(stack: nn.Module) -> object:
    """Return the number of layers that a stack runs; assisted generation with an early exit lowers it for a while."""
    return getattr(getattr(stack, "config", None), "num_hidden_layers", None)
