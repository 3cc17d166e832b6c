"""Write graphs whose weights are in one file beside them, each weight once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx_ir
from onnx_ir.external_data import convert_tensors_to_external

from manyheads.export.onnx.tidy import weight_key

# Smaller tensors are in the graphs themselves: sizes and indices, which are read while a graph is optimized.
_LEAST_BYTES = 1024
# Offsets of large weights are multiples of a page of memory, so that they can be mapped.
_PAGE = 4096

Weights = Mapping[bytes, onnx_ir.ExternalTensor]


def save(models: Mapping[str, onnx_ir.Model], folder: Path, data: str) -> None:
    """Write graphs, and the weights of all of them to one file.

    Args:
        models: File name -> graph. The graphs themselves do not change.
        folder: An existing folder.
        data: Name of the file of weights.
    """
    weights = _write_weights(models, folder, data)
    for name, model in models.items():
        with _external(model, weights, folder):
            onnx_ir.save(model, folder / name)


def _write_weights(models: Mapping[str, onnx_ir.Model], folder: Path, data: str) -> Weights:
    distinct = {weight_key(tensor): tensor for model in models.values() for tensor in _large(model).values()}
    written = convert_tensors_to_external(list(distinct.values()), folder, data, alignment=_PAGE)
    return dict(zip(distinct, written, strict=True))


@contextmanager
def _external(model: onnx_ir.Model, weights: Weights, folder: Path) -> Iterator[None]:
    """Let a graph's weights refer to the file for the time of writing."""
    before = _large(model)
    try:
        for value, tensor in before.items():
            value.const_value = _named(weights[weight_key(tensor)], value, tensor, folder)
        yield
    finally:
        for value, tensor in before.items():
            value.const_value = tensor


def _named(
    written: onnx_ir.ExternalTensor, value: onnx_ir.Value, tensor: onnx_ir.TensorProtocol, folder: Path
) -> onnx_ir.ExternalTensor:
    """Return the weight as it is in the file, under the name and in the shape that a graph gives it."""
    assert value.name is not None
    return onnx_ir.ExternalTensor(
        written.location,
        written.offset,
        written.length,
        tensor.dtype,
        shape=tensor.shape,  # type: ignore[arg-type]
        name=value.name,
        base_dir=folder,
    )


def _large(model: onnx_ir.Model) -> dict[onnx_ir.Value, onnx_ir.TensorProtocol]:
    weights = {value: value.const_value for value in model.graph.initializers.values()}
    return {value: tensor for value, tensor in weights.items() if tensor is not None and tensor.nbytes >= _LEAST_BYTES}
