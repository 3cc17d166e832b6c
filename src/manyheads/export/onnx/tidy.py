"""Leave in a traced graph only what its outputs need: each weight once, under names and notes for a reader."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any

import onnx_ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass

from manyheads.errors import ExportError

# The kept part of what exporters note on each node: the module that it comes from. The rest has this machine's paths.
SCOPES = "pkg.torch.onnx.name_scopes"


def tidy(model: onnx_ir.Model, outputs: Collection[str]) -> None:
    """Merge equal weights and operations, drop unused ones and notes, and free the names of the outputs."""
    _merge_weights(model.graph)
    CommonSubexpressionEliminationPass()(model)
    RemoveUnusedNodesPass()(model)
    _drop_notes(model)
    results = set(model.graph.outputs)
    for value in _values(model.graph):
        if value.name in outputs and value not in results:
            value.name = f"{value.name}_inner"


def _values(graph: onnx_ir.Graph) -> list[onnx_ir.Value]:
    computed = [value for node in graph.all_nodes() for value in node.outputs]
    return [*graph.inputs, *graph.initializers.values(), *computed]


def _drop_notes(model: onnx_ir.Model) -> None:
    noted_parts: list[onnx_ir.Model | onnx_ir.Graph | onnx_ir.Value] = [model, model.graph, *_values(model.graph)]
    for noted in noted_parts:
        noted.metadata_props.clear()
        noted.doc_string = None
    for node in model.graph.all_nodes():
        kept = {name: text for name, text in node.metadata_props.items() if name == SCOPES}
        node.metadata_props.clear()
        node.metadata_props.update(kept)
        node.doc_string = None


def weight_key(tensor: onnx_ir.TensorProtocol) -> bytes:
    """Return a fingerprint of a weight's bytes."""
    return hashlib.blake2b(tensor.tobytes(), digest_size=32).digest()


def _merge_weights(graph: onnx_ir.Graph) -> None:
    """Use one weight where several have the same values: modules that share one, and what was computed from them."""
    kept: dict[tuple[object, ...], onnx_ir.Value] = {}
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None:
            continue
        first = kept.setdefault((tensor.dtype, tuple(tensor.shape), weight_key(tensor)), value)
        if first is not value:
            value.replace_all_uses_with(first)
            del graph.initializers[name]


def name_dimensions(model: onnx_ir.Model, dimensions: Mapping[str, Mapping[int, str]]) -> dict[str, str]:
    """Name the dimensions that may change, and return each one's name by its symbol in the trace.

    Args:
        model: The graph.
        dimensions: Input -> the name of each dimension that has to be free.

    Raises:
        ExportError: one that is not, or is not independent of the others.
    """
    names: dict[str, str] = {}
    for value in model.graph.inputs:
        assert value.name is not None
        assert value.shape is not None
        for place, name in dimensions[value.name].items():
            symbol = value.shape[place]
            if isinstance(symbol, int) or names.setdefault(str(symbol.value), name) != name:
                raise ExportError(f"the trace holds only for one number of {name.partition('_')[0]}")
    for value in _values(model.graph):
        if value.shape is not None:
            value.shape = onnx_ir.Shape([_renamed(size, names) for size in value.shape])
    return names


def _renamed(size: Any, names: Mapping[str, str]) -> int | str | None:
    if isinstance(size, int) or size.value is None:
        return size if isinstance(size, int) else None
    return re.sub(r"\w+", lambda found: names.get(found[0], found[0]), str(size.value))
