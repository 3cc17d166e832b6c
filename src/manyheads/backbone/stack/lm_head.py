"""The LM head by itself: all that a language model does behind its stack, without running the stack.

It is the model's own code: a copy in structure alone, which shares every weight, with a stub where the stack was. So
whatever stands there (a transform, a bias, a scale, a cap on the logits) is what the model itself would do.
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

_AGREES = 1e-4
# How much of what varies in the logits must be the plain product of states and rows.
_PLAIN = 0.99


@dataclass
class _Handed(ModelOutput):  # type: ignore[misc]
    """What the stub hands on: states; whatever else a model asks its stack for is not there."""

    last_hidden_state: Tensor | None = None

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _Stub(nn.Module):
    """Stands where the stack was, and hands its input on as if it were the stack's output."""

    def __init__(self, stack: nn.Module) -> None:
        super().__init__()
        self.config = stack.config

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> _Handed:
        return _Handed(last_hidden_state=inputs_embeds)


class LMHead:
    """From states of the last layer to logits.

    Args:
        model: The language model; not an encoder-decoder, whose LM head reads the decoder.
        stack: Its stack.

    Raises:
        BackboneError: what stands behind the stack needs more than the stack's states.
    """

    def __init__(self, model: nn.Module, stack: nn.Module) -> None:
        memo: dict[int, Any] = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
        memo[id(stack)] = _Stub(stack)
        self._head = copy.deepcopy(model, memo).eval()
        self._weight: Tensor = model.get_output_embeddings().weight  # type: ignore[operator]
        self._check(model, stack)

    def __call__(self, states: Tensor) -> Tensor:
        """Return fp32 logits (rows, vocabulary) of states (rows, width), on the states' device.

        Where no gradient is asked of the states, none is recorded: the LM head's own weights stay out of it.
        """
        weight = next(self._head.parameters())
        vectors = states.to(weight.device, weight.dtype).unsqueeze(1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and states.requires_grad):
            logits: Tensor = self._head(inputs_embeds=vectors, return_dict=True).logits
        return logits[:, 0].float().to(states.device)

    def output_embeddings(self) -> Tensor:
        """Return the LM head's rows (vocabulary, width), whose products with states are the logits, but for a bias and
        a scale.

        Raises:
            BackboneError: states are transformed before they meet the rows.
        """
        if not self._plain:
            raise BackboneError(
                f"{type(self._head).__name__}: transforms states before they meet its LM head, so that the LM head's "
                "rows do not fit hidden states; use init='random', or read LMLogits()"
            )
        return self._weight.detach()

    def _check(self, model: nn.Module, stack: nn.Module) -> None:
        batch = probe_batch(stack).batch
        with evaluating(model):
            states = stack(**batch.inputs(), **forward_settings(stack, hidden_states=False)).last_hidden_state[0]
            expected = model(**batch.inputs(), **forward_settings(model, hidden_states=False)).logits[0].float()
            try:
                found = self(states)
            except (TypeError, AttributeError, ValueError, RuntimeError):
                found = None
            if found is None or found.shape != expected.shape or not _near(found, expected):
                raise BackboneError(f"{type(model).__name__}: its LM head cannot be asked without its stack")
            fits = self._weight.shape == (expected.shape[1], states.shape[1])
            self._plain = fits and _in_line(states.float() @ self._weight.float().T, expected)


class CachedLMHead:
    """An :class:`LMHead`, rebuilt when the model's output embeddings are replaced or moved."""

    def __init__(self) -> None:
        self._built: tuple[Tensor, torch.device, LMHead] | None = None

    def of(self, model: nn.Module, stack: nn.Module) -> LMHead:
        """Return the LM head of a model."""
        weight: Tensor = model.get_output_embeddings().weight  # type: ignore[operator]
        if self._built is None or self._built[0] is not weight or self._built[1] != weight.device:
            self._built = weight, weight.device, LMHead(model, stack)
        return self._built[2]


def _near(found: Tensor, expected: Tensor) -> bool:
    return bool((found - expected).abs().max() <= _AGREES * expected.abs().max())


def _in_line(products: Tensor, logits: Tensor) -> bool:
    """Tell whether logits move with products from one state to another: a bias moves with neither."""
    apart, moved = products - products.mean(dim=0), logits - logits.mean(dim=0)
    return bool(torch.nn.functional.cosine_similarity(apart.flatten(), moved.flatten(), dim=0) > _PLAIN)
