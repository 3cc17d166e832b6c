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

Few channels of activations are far larger than the others, and would take the digits of all. ``c`` moves a part of their
size into the weight (SmoothQuant, Xiao et al. 2023, equation 4, with exponent .5)::

    c_k = sqrt(max_i |x_ik| / max_j |W_kj|)           over the tokens of sample texts

It costs a multiplication per input of a product, and is done where a product has more outputs than inputs. Products
with the same input share ``c``, ``s`` and ``q``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir
from onnx_ir import Node, Value
from onnx_ir.passes.common import RemoveUnusedNodesPass

from manyheads.export.onnx.quantizers.channel_sizes import largest_by_channel
from manyheads.export.onnx.quantizers.editing import RUNTIME, Editor
from manyheads.export.onnx.quantizers.faster import speed_up
from manyheads.export.onnx.quantizers.products import Product, backbone_products
from manyheads.export.onnx.quantizers.quantizer import Batch, Quantizer
from manyheads.export.onnx.quantizers.weights import quantized

_LEVELS, _ZERO = 127.0, 128
# The size of a token whose values are all 0, of a channel that is 0 in all sample texts, and of an unused weight.
_TINY = 1e-12


class PerToken(Quantizer):
    """INT8 with a scale for each token."""

    name: ClassVar[str] = "int8"
    purpose: ClassVar[str] = "a scale for each token: an answer does not depend on other texts"

    def quantize(self, model: onnx_ir.Model, samples: Sequence[Batch]) -> onnx_ir.Model:
        """Return a quantized graph; see ``Quantizer.quantize``."""
        groups = _by_input(backbone_products(model))
        widths = {name: len(group[0].weight) for name, group in groups.items() if _has_channels(group)}
        sizes = largest_by_channel(model, widths, samples) if widths else {}
        channels = {name: _channels(groups[name], size) for name, size in sizes.items()}
        copy = model.clone()
        editor = Editor(copy)
        for name, group in _by_input(backbone_products(copy)).items():
            _quantize(editor, group, channels.get(name))
        speed_up(editor)
        RemoveUnusedNodesPass()(copy)
        return copy


def _by_input(products: Sequence[Product]) -> Mapping[str, list[Product]]:
    groups: dict[str, list[Product]] = {}
    for product in products:
        groups.setdefault(str(product.x.name), []).append(product)
    return groups


def _has_channels(group: Sequence[Product]) -> bool:
    return sum(product.weight.shape[1] for product in group) > len(group[0].weight)


def _channels(group: Sequence[Product], sizes: np.ndarray) -> np.ndarray:
    """Return ``c``, fp32 (inputs,)."""
    weights = np.max([np.abs(product.weight).max(axis=1) for product in group], axis=0)
    channels: np.ndarray = np.sqrt(np.maximum(sizes, _TINY) / np.maximum(weights, _TINY))
    return channels.astype(np.float32)


def _quantize(editor: Editor, group: Sequence[Product], channels: np.ndarray | None) -> None:
    """Replace the products of one input."""
    tokens = _quantized_tokens(editor, group[0], channels)
    for product in group:
        _replace(editor, product, tokens, channels)


@dataclass(frozen=True)
class _Tokens:
    """The input of products.

    Attributes:
        values: uint8 (tokens, inputs).
        scales: fp32 (tokens, 1).
        shape: The sizes of the input before the last one, int64 (dimensions,).
    """

    values: Value
    scales: Value
    shape: Value


def _quantized_tokens(editor: Editor, product: Product, channels: np.ndarray | None) -> _Tokens:
    node, x = product.node, product.x
    shape = editor.add(node, "Shape", x, attributes={"end": -1})
    rows = editor.add(node, "Reshape", x, editor.integers(-1, len(product.weight)))
    if channels is not None:
        rows = editor.add(node, "Mul", rows, editor.constant(f"{x.name}_channels", 1 / channels))
    scales = _scales(editor, node, rows)
    flat = editor.add(node, "Reshape", scales, editor.integers(-1))
    zero = {"value": onnx_ir.tensor(np.array([_ZERO], dtype=np.uint8))}
    zeros = editor.add(node, "ConstantOfShape", editor.add(node, "Shape", flat), attributes=zero)
    return _Tokens(editor.add(node, "QuantizeLinear", rows, flat, zeros, attributes={"axis": 0}), scales, shape)


def _scales(editor: Editor, place: Node, rows: Value) -> Value:
    """Return ``s``, fp32 (tokens, 1)."""
    # The largest and the smallest value are found faster than sizes are written.
    last = editor.integers(-1)
    largest = editor.add(place, "ReduceMax", rows, last)
    smallest = editor.add(place, "ReduceMin", rows, last)
    sizes = editor.add(place, "Max", largest, editor.add(place, "Neg", smallest), editor.number(_TINY))
    return editor.add(place, "Mul", sizes, editor.number(1 / _LEVELS))


def _replace(editor: Editor, product: Product, tokens: _Tokens, channels: np.ndarray | None) -> None:
    node, name = product.node, product.node.outputs[0].name
    weight, scales = quantized(product.weight if channels is None else product.weight * channels[:, None])
    inputs = (
        tokens.values,
        editor.constant(f"{name}_weight", weight),
        editor.number(1.0),
        editor.constant(f"{name}_scales", scales),
        editor.constant("zero", np.array(_ZERO, dtype=np.uint8)),
    )
    values = editor.add(node, "MatMulIntegerToFloat", *inputs, domain=RUNTIME)
    values = editor.add(node, "Mul", values, tokens.scales)
    if product.bias is not None:
        values = editor.add(node, "Add", values, product.bias)
    shape = editor.add(node, "Concat", tokens.shape, editor.integers(weight.shape[1]), attributes={"axis": 0})
    editor.replace(node, editor.add(node, "Reshape", values, shape))
