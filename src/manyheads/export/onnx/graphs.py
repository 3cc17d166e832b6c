"""The graphs of an export: one with the heads, and one with the language model's logits too if they are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from manyheads.core import HeadedCore
from manyheads.export.onnx.graph import LM_LOGITS, HeadsGraph
from manyheads.export.onnx.inputs import TYPES
from manyheads.export.onnx.surroundings import accepted_inputs
from manyheads.export.onnx.trace import trace
from manyheads.onnx.layout import GRAPH, LANGUAGE_MODEL_GRAPH

# The file of the weights of all graphs.
WEIGHTS = "model.onnx.data"


@dataclass(frozen=True)
class Graphs:
    """Traced graphs.

    Attributes:
        models: File name -> graph.
        heads: The module that they were traced from.
    """

    models: Mapping[str, onnx_ir.Model]
    heads: HeadsGraph


def traced_graphs(core: HeadedCore, tokenizer: Any, names: Sequence[str], language_model: bool) -> Graphs:
    """Trace the graphs. ONNX Runtime runs a whole graph, so the heads have one without the language model's logits.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        names: Names of the heads.
        language_model: Whether to make a graph with the language model's logits too.

    Raises:
        ExportError: the backbone, or a head, cannot be traced, or there is no language model.
    """
    token_types = TYPES in accepted_inputs(core, tokenizer)
    heads = HeadsGraph(core, names, token_types, language_model)
    whole = trace(heads)
    if not language_model:
        return Graphs({GRAPH: whole}, heads)
    return Graphs({GRAPH: without_output(whole, LM_LOGITS), LANGUAGE_MODEL_GRAPH: whole}, heads)


def without_output(model: onnx_ir.Model, name: str) -> onnx_ir.Model:
    """Return a graph without one of its outputs, and without what only this output needs."""
    copied = model.clone()
    (place,) = [place for place, value in enumerate(copied.graph.outputs) if value.name == name]
    del copied.graph.outputs[place]
    RemoveUnusedNodesPass()(copied)
    unused = [value for value in copied.graph.inputs if not value.uses()]
    for value in unused:
        copied.graph.inputs.remove(value)
    return copied
