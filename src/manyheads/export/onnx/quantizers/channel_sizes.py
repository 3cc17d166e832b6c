"""How large the channels of activations are on sample texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir

from manyheads.export.onnx.quantizers.editing import Editor
from manyheads.export.onnx.quantizers.outputs import run_to
from manyheads.export.onnx.quantizers.quantizer import Batch


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
    values = {value.name: value for node in measured.graph for value in node.outputs}
    editor, names = Editor(measured), []
    for name, width in widths.items():
        rows = editor.add(None, "Reshape", values[name], editor.integers(-1, width))
        sizes = editor.add(None, "Abs", rows)
        largest = editor.add(None, "ReduceMax", sizes, editor.integers(0), attributes={"keepdims": 0})
        largest.shape = onnx_ir.Shape([width])
        names.append(str(largest.name))
    found = zip(*run_to(measured, names, samples), strict=True)
    return {name: np.max(sizes, axis=0) for name, sizes in zip(widths, found, strict=True)}
