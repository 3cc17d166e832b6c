"""Run a graph up to any of its values."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime

from manyheads.export.onnx.quantizers.quantizer import Batch
from manyheads.export.onnx.save import save

_GRAPH = "measured.onnx"
_ONLY_FATAL = 4


def run_to(model: onnx_ir.Model, names: Sequence[str], batches: Iterable[Batch]) -> Iterator[list[np.ndarray]]:
    """Yield fp32 values of a graph for each batch.

    Args:
        model: The graph; it does not change.
        names: Names of the values.
        batches: Inputs of the graph; others are left out.
    """
    measured = model.clone()
    values = {value.name: value for node in measured.graph for value in node.outputs}
    measured.graph.outputs.clear()
    for name in names:
        values[name].dtype = onnx_ir.DataType.FLOAT
        measured.graph.outputs.append(values[name])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ONLY_FATAL
    with tempfile.TemporaryDirectory() as folder:
        save({_GRAPH: measured}, Path(folder), f"{_GRAPH}.data")
        session = onnxruntime.InferenceSession(Path(folder) / _GRAPH, options, providers=["CPUExecutionProvider"])
        read = [item.name for item in session.get_inputs()]
        for batch in batches:
            yield session.run(list(names), {name: batch[name] for name in read})
