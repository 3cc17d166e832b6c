"""A traced graph keeps each weight once, no notes with paths, and the names of its outputs to itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime
import pytest

from manyheads.errors import ExportError
from manyheads.export.onnx.save import save
from manyheads.export.onnx.tidy import name_dimensions, tidy


def graph_with(rows: str | int = "s1") -> onnx_ir.Model:
    """Return ``(x @ weight + x @ weight) @ weight``, its output called "head", which others are called too."""
    weight = np.arange(1024, dtype=np.float32).reshape(32, 32) / 1024
    initializers = [
        onnx_ir.val(name, const_value=onnx_ir.tensor(weight, name=name)) for name in ("one", "same", "head")
    ]
    x = onnx_ir.val("x", onnx_ir.DataType.FLOAT, [rows, 32])
    left, right = (onnx_ir.node("MatMul", [x, initializers[place]]) for place in (0, 1))
    total = onnx_ir.node("Add", [left.outputs[0], right.outputs[0]])
    result = onnx_ir.node("MatMul", [total.outputs[0], initializers[2]])
    total.outputs[0].name = "head"
    nodes = [left, right, total, result]
    for node in nodes:
        node.metadata_props["pkg.torch.onnx.stack_trace"] = "/home/somebody/model.py"
    output = result.outputs[0]
    output.name, output.shape, output.type = "result", onnx_ir.Shape([rows, 32]), x.type
    graph = onnx_ir.Graph([x], [output], nodes=nodes, initializers=initializers, opset_imports={"": 18})
    output.name = "head"
    return onnx_ir.Model(graph, ir_version=10)


def test_equal_weights_and_products_are_one(tmp_path: Path) -> None:
    model = graph_with()
    tidy(model, ["head"])
    name_dimensions(model, {"x": {0: "rows"}})
    assert [node.op_type for node in model.graph] == ["MatMul", "Add", "MatMul"]
    assert len(model.graph.initializers) == 1
    names = [value.name for node in model.graph for value in node.outputs] + list(model.graph.initializers)
    assert names.count("head") == 1
    save({"one.onnx": model, "two.onnx": model}, tmp_path, "weights.data")
    assert (tmp_path / "weights.data").stat().st_size == 4096
    assert b"somebody" not in (tmp_path / "one.onnx").read_bytes()
    rows = np.ones((3, 32), dtype=np.float32)
    weight = np.arange(1024, dtype=np.float32).reshape(32, 32) / 1024
    for name in ("one.onnx", "two.onnx"):
        (found,) = onnxruntime.InferenceSession(tmp_path / name).run(["head"], {"x": rows})
        np.testing.assert_allclose(found, 2 * rows @ weight @ weight, rtol=1e-5)


def test_graphs_are_as_before_after_they_are_saved(tmp_path: Path) -> None:
    model = graph_with()
    tidy(model, ["head"])
    save({"one.onnx": model}, tmp_path, "weights.data")
    (tmp_path / "weights.data").unlink()
    (weight,) = model.graph.initializers.values()
    assert weight.const_value is not None
    assert float(weight.const_value.numpy()[0, 1]) == 1 / 1024


def test_a_size_that_became_a_constant_is_an_error() -> None:
    with pytest.raises(ExportError, match="holds only for one number of rows"):
        name_dimensions(graph_with(rows=3), {"x": {0: "rows"}})
