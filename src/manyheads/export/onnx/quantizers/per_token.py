"""INT8 with a scale for each token: ``int8``.

Symbols and shapes, for a product of n tokens::

    x_i    (inputs,)           the vector of token i
    c      (inputs,)           sizes of channels, constants
    W      (inputs, outputs)   the weight

    s_i = max_k |x_ik / c_k| / 127
    q_i = round(x_i / c / s_i)                        int8; stored as uint8 with zero point 128
    Q, t = weights.quantized(c W)                     int8 (inputs, outputs), fp32 (outputs,)
    x_i W  is about  s_i t (q_i Q)                    q_i Q is exact, in int32

No scale depends on another token, so the answer for a text does not depend on the batch that it is in.

A few channels of activations are far larger than the others, and would take the digits of all. ``c`` moves a part of
their size into the weight (SmoothQuant, Xiao et al. 2023, equation 4, with exponent .5)::

    c_k = sqrt(max_i |x_ik| / max_j |W_kj|)           over the tokens of sample texts

It costs a multiplication per input of a product, and is done where a product has more outputs than inputs. Products
with the same input share ``c``, ``s`` and ``q``.

GELU is never below -0.17. For its values the numbers below are not wasted::

    s_i = max_k (x_ik + 0.17) / 255
    q_i = round((x_i + 0.17) / s_i)          uint8
    x_i W  is about  s_i t (q_i Q) - 0.17 sum_k t Q_k
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import onnx_ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from manyheads.export.onnx.quantizers.activations import largest_by_channel, second_moments
from manyheads.export.onnx.quantizers.editing import RUNTIME, Editor
from manyheads.export.onnx.quantizers.faster import speed_up
from manyheads.export.onnx.quantizers.products import Product, backbone_products
from manyheads.export.onnx.quantizers.quantizer import Batch, Quantizer
from manyheads.export.onnx.quantizers.tokens import Tokens, quantized_tokens
from manyheads.export.onnx.quantizers.weights import quantized

# A weight in INT8, and its scales.
Weight = tuple[np.ndarray, np.ndarray]

# The size of a channel that is 0 in all sample texts, and of a weight that is 0.
_TINY = 1e-12
# With more inputs of a product, it would take too long to let their errors make up for each other.
_MOST_INPUTS = 4096


class PerToken(Quantizer):
    """INT8 with a scale for each token."""

    name: ClassVar[str] = "int8"
    purpose: ClassVar[str] = "a scale for each token: an answer does not depend on other texts"

    def quantize(self, model: onnx_ir.Model, samples: Sequence[Batch]) -> onnx_ir.Model:
        """Return a quantized graph; see ``Quantizer.quantize``."""
        groups = _by_input(backbone_products(model))
        channels = _channels(model, groups, samples)
        weights = _weights(model, groups, channels, samples)
        copy = model.clone()
        editor = Editor(copy, "int8")
        for name, group in _by_input(backbone_products(copy)).items():
            tokens = quantized_tokens(editor, group[0].node, group[0].x, len(group[0].weight), channels.get(name))
            for product, weight in zip(group, weights[name], strict=True):
                _replace(editor, product, tokens, weight)
        speed_up(editor)
        RemoveUnusedNodesPass()(copy)
        return copy


def _by_input(products: Iterable[Product]) -> dict[str, list[Product]]:
    """Return products by the name of their input."""
    groups: dict[str, list[Product]] = {}
    for product in products:
        groups.setdefault(str(product.x.name), []).append(product)
    return groups


def _channels(
    model: onnx_ir.Model, groups: Mapping[str, Sequence[Product]], samples: Sequence[Batch]
) -> dict[str, np.ndarray]:
    """Return ``c``, fp32 (inputs,), by name of the input, for the groups that have it."""
    widths = {name: len(group[0].weight) for name, group in groups.items() if _has_more_outputs(group)}
    sizes = largest_by_channel(model, widths, samples) if widths else {}
    found: dict[str, np.ndarray] = {}
    for name, size in sizes.items():
        weights = np.max([np.abs(product.weight).max(axis=1) for product in groups[name]], axis=0)
        found[name] = np.sqrt(np.maximum(size, _TINY) / np.maximum(weights, _TINY)).astype(np.float32)
    return found


def _has_more_outputs(group: Sequence[Product]) -> bool:
    outputs = sum(int(product.weight.shape[1]) for product in group)
    return outputs > len(group[0].weight)


def _weights(
    model: onnx_ir.Model,
    groups: Mapping[str, Sequence[Product]],
    channels: Mapping[str, np.ndarray],
    samples: Sequence[Batch],
) -> dict[str, list[Weight]]:
    """Return ``Q`` and ``t`` of the products of each group."""
    widths = {name: len(group[0].weight) for name, group in groups.items()}
    found = {
        name: [_weight(product, channels.get(name), None) for product in groups[name]]
        for name, width in widths.items()
        if width > _MOST_INPUTS
    }
    small = {name: width for name, width in widths.items() if name not in found}
    for name, moments in second_moments(model, small, samples):
        found[name] = [_weight(product, channels.get(name), moments) for product in groups[name]]
    return found


def _weight(product: Product, channels: np.ndarray | None, moments: np.ndarray | None) -> Weight:
    if channels is None:
        return quantized(product.weight, moments)
    scaled = None if moments is None else moments / channels / channels[:, None]
    return quantized(product.weight * channels[:, None], scaled)


def _replace(editor: Editor, product: Product, tokens: Tokens, weight: Weight) -> None:
    """Replace a product."""
    node, name = product.node, product.node.outputs[0].name
    integers, scales = weight
    inputs = (
        tokens.values,
        editor.constant(f"{name}_weight", integers),
        editor.number(1.0),
        editor.constant(f"{name}_scales", scales),
        editor.constant(f"zero_{tokens.zero}", np.array(tokens.zero, dtype=np.uint8)),
    )
    values = editor.add(node, "MatMulIntegerToFloat", *inputs, domain=RUNTIME)
    values = editor.add(node, "Mul", values, tokens.scales)
    if tokens.shift:
        offset = -tokens.shift * (integers.sum(axis=0, dtype=np.float64) * scales)
        values = editor.add(node, "Add", values, editor.constant(f"{name}_offset", offset.astype(np.float32)))
    if product.bias is not None:
        values = editor.add(node, "Add", values, product.bias)
    width = editor.integers(integers.shape[1])
    shape = editor.add(node, "Concat", tokens.shape, width, attributes={"axis": 0})
    editor.replace(node, editor.add(node, "Reshape", values, shape))
