"""The inputs of products in INT8, with a scale for each token; see ``per_token``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir import Node, Value

from manyheads.export.onnx.quantizers.editing import Editor

_LEVELS, _ZERO = 127.0, 128
_POSITIVE_LEVELS = 255.0
# No value of GELU, exact or by tanh, is below this one's negative.
_GELU_SHIFT = 0.1701
# The size of a token whose values are all 0.
_TINY = 1e-12


@dataclass(frozen=True)
class Tokens:
    """The input of products.

    Attributes:
        values: uint8 (tokens, inputs).
        zero: What stands for 0 in ``values``.
        scales: fp32 (tokens, 1).
        shift: What was added to the input.
        shape: The sizes of the input before the last one, int64 (dimensions,).
    """

    values: Value
    zero: int
    scales: Value
    shift: float
    shape: Value


def quantized_tokens(editor: Editor, place: Node, x: Value, width: int, channels: np.ndarray | None) -> Tokens:
    """Quantize an input.

    Args:
        editor: Of the graph.
        place: The operation before which it is done.
        x: The input, fp32 (..., width).
        width: Its last size.
        channels: The sizes that its channels are divided by, or ``None``.
    """
    shape = editor.add(place, "Shape", x, attributes={"end": -1})
    rows = editor.add(place, "Reshape", x, editor.integers(-1, width))
    if channels is not None:
        rows = editor.add(place, "Mul", rows, editor.constant(f"{x.name}_channels", 1 / channels))
    positive = channels is None and _is_gelu(x)
    zero, shift = (0, _GELU_SHIFT) if positive else (_ZERO, 0.0)
    if positive:
        rows = editor.add(place, "Add", rows, editor.number(shift))
    scales = _scales(editor, place, rows, positive)
    return Tokens(_integers(editor, place, rows, scales, zero), zero, scales, shift, shape)


def _is_gelu(x: Value) -> bool:
    producer = x.producer()
    return producer is not None and producer.op_type == "Gelu"


def _scales(editor: Editor, place: Node, rows: Value, positive: bool) -> Value:
    """Return the scales of tokens, fp32 (tokens, 1)."""
    last, tiny = editor.integers(-1), editor.number(_TINY)
    largest = editor.add(place, "ReduceMax", rows, last)
    if positive:
        sizes = editor.add(place, "Max", largest, tiny)
        return editor.add(place, "Mul", sizes, editor.number(1 / _POSITIVE_LEVELS))
    # The smallest value is found faster than sizes are written.
    smallest = editor.add(place, "ReduceMin", rows, last)
    sizes = editor.add(place, "Max", largest, editor.add(place, "Neg", smallest), tiny)
    return editor.add(place, "Mul", sizes, editor.number(1 / _LEVELS))


def _integers(editor: Editor, place: Node, rows: Value, scales: Value, zero: int) -> Value:
    flat = editor.add(place, "Reshape", scales, editor.integers(-1))
    value = {"value": onnx_ir.tensor(np.array([zero], dtype=np.uint8))}
    zeros = editor.add(place, "ConstantOfShape", editor.add(place, "Shape", flat), attributes=value)
    return editor.add(place, "QuantizeLinear", rows, flat, zeros, attributes={"axis": 0})
