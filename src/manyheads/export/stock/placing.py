r"""How a head's weights are placed into the layers that a stock classifier has before its logits.

A class ends in an output layer, and some have one fully connected layer with an activation ``f`` before it. Logits
``W x + b`` come out of such a pair exactly, because of what the usual activations have in common:

- ``f(z) - f(-z) = z`` for ReLU, GELU and SiLU. The first layer computes ``W x`` and ``-W x``, the output layer their
  difference. This needs two features for each label.
- ``tanh(e x) = e x`` up to ``(e x)^3 / 3``. With ``e = 2^-14`` the first layer computes ``e x``, the output layer
  ``(W / e)``. Scaling by a power of two loses no digits in fp32 and bf16; in fp16 it does.

Nothing here knows a class. Each placement is tried, and the logits of the class decide whether it is the right one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from manyheads.export.linear import ExportedHead, Layer
from manyheads.export.stock.final_norm import add_bias, final_norm

_SMALL = 2.0**-14
# A bias of zeros alone is that of an untrained pooler, which nobody should read: see `backbone/pooler.py`. This one
# changes no logit that fp32 can represent.
_TRACE = 2.0**-40


@dataclass(frozen=True)
class ClassifierLayers:
    """The fully connected layers of a stock classifier outside the blocks of its stack.

    Attributes:
        stack: The stack.
        output: The layer that computes the logits.
        before: The layers before it.
        pooler: The layer of the backbone's pooler, if the head reads it.
    """

    stack: nn.Module
    output: nn.Linear
    before: tuple[nn.Linear, ...]
    pooler: Layer | None = None

    @property
    def has_bias(self) -> bool:
        """Whether the layer that computes the logits has a bias."""
        return "bias" in dict(self.output.named_parameters())


@dataclass(frozen=True)
class Placement:
    """One way to place a head's weights.

    Attributes:
        place: Writes the weights, and returns whether the layers have room for them.
        notes: What it changes, for the model card.
    """

    place: Callable[[ClassifierLayers, ExportedHead], bool]
    notes: tuple[str, ...] = ()


def classifier_layers(
    model: nn.Module, stack: nn.Module, labels: int, read_pooler: Layer | None
) -> ClassifierLayers | None:
    """Return the fully connected layers of a classifier, or ``None`` if none has an output per label.

    Args:
        model: The classifier.
        stack: Its stack.
        labels: Number of outputs.
        read_pooler: The layer of the backbone's pooler, if the head reads it.
    """
    pooler = getattr(stack, "pooler", None)
    own = set(pooler.modules()) if isinstance(pooler, nn.Module) else set()
    inside = set(stack.modules()) - own
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in inside]
    outputs = [module for module in linear if module.out_features == labels and module not in own]
    if not outputs:
        return None
    before = tuple(module for module in linear if module is not outputs[-1])
    return ClassifierLayers(stack, outputs[-1], before, read_pooler)


def _directly(layers: ClassifierLayers, head: ExportedHead) -> bool:
    """Place the output layer; the layers before it, if any, are those that the head was trained on."""
    return not head.hidden and _write_output(layers, head.output.weight, head.output.bias)


def _after_pooler(layers: ClassifierLayers, head: ExportedHead) -> bool:
    """Place the backbone's pooler into the layer before the output layer."""
    first, pooler = _one_before(layers), layers.pooler
    if head.hidden or first is None or pooler is None or first.weight.shape != pooler.weight.shape:
        return False
    _fill(first, pooler.weight, pooler.bias)
    return _write_output(layers, head.output.weight, head.output.bias)


def _as_difference(layers: ClassifierLayers, head: ExportedHead) -> bool:
    """Place ``W`` and ``-W`` into the layer before the output layer, which subtracts them."""
    first = _one_before(layers)
    labels = len(head.output.bias)
    if head.hidden or layers.pooler is not None or first is None or 2 * labels > first.out_features:
        return False
    weight = head.output.weight
    _fill(first, torch.cat([weight, -weight]), None)
    difference = torch.cat([torch.eye(labels), -torch.eye(labels)], dim=1)
    return _write_output(layers, _padded(difference, layers.output.in_features), head.output.bias)


def _as_small_values(layers: ClassifierLayers, head: ExportedHead) -> bool:
    """Let the layer before the output layer pass on its input, scaled so that a tanh does not bend it."""
    first = _one_before(layers)
    if head.hidden or layers.pooler is not None or first is None or first.in_features != first.out_features:
        return False
    _fill(first, _SMALL * torch.eye(first.in_features), torch.full((first.in_features,), _TRACE))
    return _write_output(layers, head.output.weight / _SMALL, head.output.bias)


def _as_hidden_layer(layers: ClassifierLayers, head: ExportedHead) -> bool:
    """Place the head's one hidden layer into the layer before the output layer."""
    first = _one_before(layers)
    if len(head.hidden) != 1 or first is None or len(head.hidden[0].bias) > first.out_features:
        return False
    _fill(first, head.hidden[0].weight, head.hidden[0].bias)
    return _write_output(layers, _padded(head.output.weight, layers.output.in_features), head.output.bias)


_DIFFERENCE_NOTE = (
    "The layer before the output layer computes each logit and its negative, and the output layer their difference, so "
    "that its activation changes nothing."
)
_SMALL_NOTE = (
    "The layer before the output layer passes on its input times 2^-14, so that its tanh changes nothing. Run the "
    "model in fp32 or bf16: fp16 has few digits left for such numbers."
)
PLACEMENTS: tuple[Placement, ...] = (
    Placement(_directly),
    Placement(_after_pooler),
    Placement(_as_hidden_layer),
    Placement(_as_difference, (_DIFFERENCE_NOTE,)),
    Placement(_as_small_values, (_SMALL_NOTE,)),
)


def _one_before(layers: ClassifierLayers) -> nn.Linear | None:
    return layers.before[0] if len(layers.before) == 1 else None


@torch.no_grad()
def _write_output(layers: ClassifierLayers, weight: Tensor, bias: Tensor) -> bool:
    """Write the output layer; where it has no bias, the final norm carries it. Return whether both are possible."""
    output = layers.output
    if output.weight.shape != weight.shape:
        return False
    output.weight.copy_(weight)
    if layers.has_bias:
        output.bias.copy_(bias)
        return True
    if not bool(bias.any()):
        return True
    norm = final_norm(layers.stack)
    if norm is None:
        return False
    add_bias(norm, weight, bias)
    return True


@torch.no_grad()
def _fill(layer: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    """Write the first rows of a layer; the others become zero."""
    layer.weight.zero_()
    layer.weight[: len(weight)] = weight
    for own in (parameter for name, parameter in layer.named_parameters() if name == "bias"):
        own.zero_()
        if bias is not None:
            own[: len(bias)] = bias


def _padded(weight: Tensor, width: int) -> Tensor:
    return nn.functional.pad(weight, (0, width - weight.shape[1]))
