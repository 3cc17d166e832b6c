"""How large the channels of activations are on sample texts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir
import onnxruntime

from manyheads.export.onnx.quantizers.editing import Editor
from manyheads.export.onnx.quantizers.quantizer import Batch
from manyheads.export.onnx.save import save

_GRAPH = "measured.onnx"


def largest_by_channel(
    model: onnx_ir.Model, widths: Mapping[str, int], samples: Sequence[Batch]
) -> dict[str, np.ndarray]:
    """Return the largest size of each channel of activations on sample texts, fp32 (channels,), by name.

    Args:
        model: A graph.
        widths: Name of a value of it, fp32 (..., channels) -> number of channels.
        samples: At least one batch.
    """
    measured = model.clone()
    outputs = _measure(measured, widths)
    with _session(measured) as session:
        taken = [item.name for item in session.get_inputs()]
        found = [session.run(outputs, {name: batch[name] for name in taken}) for batch in samples]
    return {name: np.max(sizes, axis=0) for name, sizes in zip(widths, zip(*found, strict=True), strict=True)}


def _measure(model: onnx_ir.Model, widths: Mapping[str, int]) -> list[str]:
    """Give a graph the sizes as outputs, and return their names."""
    values = {value.name: value for node in model.graph for value in node.outputs}
    editor, names = Editor(model), []
    for name, width in widths.items():
        rows = editor.add(None, "Reshape", values[name], editor.integers(-1, width))
        sizes = editor.add(None, "Abs", rows)
        largest = editor.add(None, "ReduceMax", sizes, editor.integers(0), attributes={"keepdims": 0})
        largest.dtype, largest.shape = onnx_ir.DataType.FLOAT, onnx_ir.Shape([width])
        model.graph.outputs.append(largest)
        names.append(str(largest.name))
    return names


@contextmanager
def _session(model: onnx_ir.Model) -> Iterator[onnxruntime.InferenceSession]:
    with tempfile.TemporaryDirectory() as folder:
        save({_GRAPH: model}, Path(folder), f"{_GRAPH}.data")
        yield onnxruntime.InferenceSession(Path(folder) / _GRAPH, providers=["CPUExecutionProvider"])
