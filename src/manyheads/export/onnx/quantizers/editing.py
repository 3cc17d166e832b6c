"""Replace operations of a graph by others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir
from onnx_ir import Node, Value

# ONNX Runtime's own operations.
RUNTIME = "com.microsoft"


class Editor:
    """Adds operations and constants to a graph. Equal constants of one name are added once.

    Args:
        model: The graph; it changes.
        name: The start of the names of what is added; those of two editors of one graph must differ.
    """

    def __init__(self, model: onnx_ir.Model, name: str) -> None:
        self.graph = model.graph
        self._name = name
        self._count = 0
        self._constants: dict[str, Value] = {}
        model.opset_imports.setdefault(RUNTIME, 1)

    def constant(self, name: str, array: np.ndarray) -> Value:
        """Return a constant; one of this name that exists already is returned as it is."""
        if name not in self._constants:
            value = onnx_ir.Value(
                name=f"{self._name}_{name}",
                const_value=onnx_ir.tensor(array),
                shape=onnx_ir.Shape(array.shape),
                type=onnx_ir.TensorType(onnx_ir.DataType.from_numpy(array.dtype)),
            )
            self.graph.register_initializer(value)
            self._constants[name] = value
        return self._constants[name]

    def integers(self, *numbers: int) -> Value:
        """Return a constant of int64 numbers."""
        return self.constant("_".join(["integers", *map(str, numbers)]), np.array(numbers, dtype=np.int64))

    def number(self, number: float) -> Value:
        """Return an fp32 constant without dimensions."""
        return self.constant(f"number_{number!r}", np.array(number, dtype=np.float32))

    def add(
        self,
        place: Node | None,
        operation: str,
        *inputs: Value | None,
        domain: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> Value:
        """Add an operation with one output before another one, or at the end, and return its output."""
        self._count += 1
        name = f"{self._name}_{operation}_{self._count}"
        node = onnx_ir.node(operation, inputs, attributes, domain=domain, name=name)
        node.outputs[0].name = f"{name}_output"
        if place is None:
            self.graph.append(node)
        else:
            self.graph.insert_before(place, node)
        return node.outputs[0]

    def replace(self, node: Node, output: Value) -> None:
        """Replace an operation with one output by a value."""
        (old,) = node.outputs
        output.shape, output.type, name = old.shape, old.type, old.name
        old.replace_all_uses_with(output, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)
        output.name = name
