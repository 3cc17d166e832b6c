"""The LM head without its stack: everything that a language model computes after the last hidden states.

It is the model's own code, in a copy that shares every weight and has a stub in place of the stack. Any transform,
bias, scale or cap on the logits is therefore the model's own.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from manyheads.backbone.stack.probe import evaluating, forward_settings, probe_batch
from manyheads.errors import BackboneError

_TOLERANCE = 1e-4
# Least cosine between the logits and the plain product of states and output embeddings, both centered.
_LEAST_COSINE = 0.99


@dataclass
class _StubOutput(ModelOutput):  # type: ignore[misc]
    """The stub's output: hidden states; every other attribute is ``None``."""

    last_hidden_state: Tensor | None = None

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _StackStub(nn.Module):
    """Returns its input in the form of the stack's output."""

    def __init__(self, stack: nn.Module) -> None:
        super().__init__()
        self.config = getattr(stack, "config", None)

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> _StubOutput:
        return _StubOutput(last_hidden_state=inputs_embeds)


class LMHead:
    """From states of the last layer to logits.

    Args:
        model: The language model; not an encoder-decoder, whose LM head reads the decoder.
        stack: Its stack.

    Raises:
        BackboneError: the LM head needs more than the stack's states.
    """

    def __init__(self, model: nn.Module, stack: nn.Module) -> None:
        memo: dict[int, Any] = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
        memo[id(stack)] = _StackStub(stack)
        self._head = copy.deepcopy(model, memo).eval()
        self._weight: Tensor = model.get_output_embeddings().weight  # type: ignore[operator]
        self._is_plain = self._check(model, stack)

    def __call__(self, states: Tensor) -> Tensor:
        """Return fp32 logits (rows, vocabulary) of states (rows, width), on the states' device.

        Gradients are recorded only if the states require them; the LM head's own weights get none.
        """
        weight = next(self._head.parameters())
        vectors = states.to(weight.device, weight.dtype).unsqueeze(1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and states.requires_grad):
            logits: Tensor = self._head(inputs_embeds=vectors, return_dict=True).logits
        return logits[:, 0].float().to(states.device)

    @property
    def module(self) -> nn.Module:
        """The copy of the language model that takes ``inputs_embeds`` (rows, tokens, width), its stack's states."""
        return self._head

    def output_embeddings(self) -> Tensor:
        """Return the output embeddings (vocabulary, width).

        Up to a bias and a scale, their products with states are the logits.

        Raises:
            BackboneError: the model transforms states before the output embeddings.
        """
        if not self._is_plain:
            raise BackboneError(
                f"{type(self._head).__name__}: applies a transform before its LM head, so init='lm_head' is not "
                "supported; use init='random', or read LMLogits()"
            )
        return self._weight.detach()

    def _check(self, model: nn.Module, stack: nn.Module) -> bool:
        """Check on a few tokens that the copy gives the model's logits; return whether they are a plain product."""
        batch = probe_batch(stack).batch
        with evaluating(model):
            states = stack(**batch.inputs(), **forward_settings(stack, hidden_states=False)).last_hidden_state[0]
            expected = model(**batch.inputs(), **forward_settings(model, hidden_states=False)).logits[0].float()
            try:
                found = self(states)
            except (TypeError, AttributeError, ValueError, RuntimeError):
                found = None
            if found is None or found.shape != expected.shape or not _are_close(found, expected):
                raise BackboneError(f"{type(model).__name__}: its LM head cannot be run on its own")
            fits = self._weight.shape == (expected.shape[1], states.shape[1])
            return fits and _vary_alike(states.float() @ self._weight.float().T, expected)


class CachedLMHead:
    """An ``LMHead``, rebuilt when the model's output embeddings are replaced or moved."""

    def __init__(self) -> None:
        self._built: tuple[Tensor, torch.device, LMHead] | None = None

    def of(self, model: nn.Module, stack: nn.Module) -> LMHead:
        """Return the LM head of a model."""
        weight: Tensor = model.get_output_embeddings().weight  # type: ignore[operator]
        if self._built is None or self._built[0] is not weight or self._built[1] != weight.device:
            self._built = weight, weight.device, LMHead(model, stack)
        return self._built[2]


def lm_reads_stack(model: nn.Module) -> bool:
    """Return whether a model has an LM head that reads the stack; that of an encoder-decoder reads the decoder."""
    has_lm = model.get_output_embeddings() is not None  # type: ignore[operator]
    return has_lm and not model.config.is_encoder_decoder  # type: ignore[union-attr]


def _are_close(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= _TOLERANCE * expected.abs().max())


def _vary_alike(products: Tensor, logits: Tensor) -> bool:
    """Return whether logits vary between states as the products do; a constant bias changes neither."""
    centered, others = products - products.mean(dim=0), logits - logits.mean(dim=0)
    return bool(torch.nn.functional.cosine_similarity(centered.flatten(), others.flatten(), dim=0) > _LEAST_COSINE)
