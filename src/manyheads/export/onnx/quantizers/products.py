"""The matrix products of a graph whose weight is a constant."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir
from onnx_ir import Node, Value

from manyheads.export.onnx.tidy import SCOPES

# A module of ``HeadsGraph``: it runs the backbone.
_BACKBONE = "passes"
# With fewer rows or columns, a product in INT8 is not faster.
_LEAST = 16


@dataclass(frozen=True)
class Product:
    """A product ``x @ weight``, plus ``bias`` where there is one.

    Attributes:
        node: The operation, ``MatMul`` or ``Gemm``.
        weight: fp32 (inputs, outputs).
        bias: What ``Gemm`` adds, (outputs,), or ``None``.
    """

    node: Node
    weight: np.ndarray
    bias: Value | None

    @property
    def x(self) -> Value:
        """What the weight is multiplied with, fp32 (..., inputs)."""
        (x, *_) = self.node.inputs
        assert x is not None
        return x


def backbone_products(model: onnx_ir.Model) -> list[Product]:
    """Return the backbone's products, those of heads left out, in the order of the graph."""
    return [product for product in products(model) if _is_backbone(product) and min(product.weight.shape) >= _LEAST]


def products(model: onnx_ir.Model) -> Iterator[Product]:
    """Yield all products of a graph."""
    for node in model.graph:
        if node.op_type in ("MatMul", "Gemm") and node.domain == "" and (found := _product(node)) is not None:
            yield found


def _product(node: Node) -> Product | None:
    constant = None if node.inputs[1] is None else node.inputs[1].const_value
    if constant is None or len(constant.shape) != 2 or constant.dtype != onnx_ir.DataType.FLOAT:
        return None
    if node.op_type == "MatMul":
        return Product(node, constant.numpy(), None)
    attributes = node.attributes
    if attributes.get_float("alpha", 1.0) != 1.0 or attributes.get_float("beta", 1.0) != 1.0:
        return None
    if attributes.get_int("transA", 0):
        return None
    weight = constant.numpy()
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return Product(node, weight.T if attributes.get_int("transB", 0) else weight, bias)


def scopes(node: Node) -> list[str]:
    """Return the modules that an operation was traced in, the outermost first."""
    found = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    return [str(scope) for scope in found]


def _is_backbone(product: Product) -> bool:
    return any(scope.partition(".")[0] == _BACKBONE for scope in scopes(product.node))
