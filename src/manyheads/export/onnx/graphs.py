"""The graphs of an export: one with the heads, and one with the language model's logits too if they are wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir

from manyheads.core import HeadedCore
from manyheads.export.onnx.graph import HeadsGraph
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
        heads: The module that the graph of the heads was traced from.
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
    heads = HeadsGraph(core, names, token_types)
    models = {GRAPH: trace(heads)}
    if language_model:
        models[LANGUAGE_MODEL_GRAPH] = trace(HeadsGraph(core, names, token_types, lm=True))
    return Graphs(models, heads)
