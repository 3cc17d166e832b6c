"""Statistics of activations on sample texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_ir
from onnx_ir import Value

from manyheads.export.onnx.quantizers.editing import Editor
from manyheads.export.onnx.quantizers.outputs import run_to
from manyheads.export.onnx.quantizers.quantizer import Batch

# Numbers that are in memory together.
_MOST = 1 << 26


def largest_by_channel(
    model: onnx_ir.Model, widths: Mapping[str, int], samples: Sequence[Batch]
) -> dict[str, np.ndarray]:
    """Return the largest size of each channel of activations, fp32 (channels,), by name.

    Args:
        model: A graph.
        widths: Name of a value of it, fp32 (..., channels) -> number of channels.
        samples: At least one batch.
    """
    measured = model.clone()
    editor, names = Editor(measured, "measured"), []
    for rows in _rows(editor, widths):
        sizes = editor.add(None, "Abs", rows)
        names.append(editor.add(None, "ReduceMax", sizes, editor.integers(0), attributes={"keepdims": 0}).name)
    found = zip(*run_to(measured, [str(name) for name in names], samples), strict=True)
    return {name: np.max(sizes, axis=0) for name, sizes in zip(widths, found, strict=True)}


def second_moments(
    model: onnx_ir.Model, widths: Mapping[str, int], samples: Sequence[Batch]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the name of activations, and the sum of ``x x'`` over their tokens, fp32 (channels, channels).

    Args:
        model: A graph.
        widths: Name of a value of it, fp32 (..., channels) -> number of channels.
        samples: At least one batch.
    """
    for part in _parts(widths):
        measured = model.clone()
        editor, names = Editor(measured, "measured"), []
        for rows in _rows(editor, part):
            columns = editor.add(None, "Transpose", rows, attributes={"perm": [1, 0]})
            names.append(editor.add(None, "MatMul", columns, rows).name)
        total: list[np.ndarray] = []
        for found in run_to(measured, [str(name) for name in names], samples):
            total = list(found) if not total else [one + more for one, more in zip(total, found, strict=True)]
        yield from zip(part, total, strict=True)


def _rows(editor: Editor, widths: Mapping[str, int]) -> Iterable[Value]:
    """Yield activations as (tokens, channels)."""
    values = {value.name: value for node in editor.graph for value in node.outputs}
    for name, width in widths.items():
        yield editor.add(None, "Reshape", values[name], editor.integers(-1, width))


def _parts(widths: Mapping[str, int]) -> Iterator[dict[str, int]]:
    part: dict[str, int] = {}
    for name, width in widths.items():
        if part and sum(size**2 for size in [*part.values(), width]) > _MOST:
            yield part
            part = {}
        part[name] = width
    if part:
        yield part
