"""What stands beside an exported graph: the layout of heads, prompts and limits, and the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.backbone.limits import token_limit
from manyheads.backbone.stack.probe import forward_arguments
from manyheads.core import HeadedCore
from manyheads.data.texts.tokenize import start_of_document
from manyheads.errors import ExportError
from manyheads.export.onnx.graph import HeadsGraph
from manyheads.export.onnx.inputs import IDS, TYPES
from manyheads.heads import Head
from manyheads.onnx.layout import LANGUAGE_MODEL_GRAPH, ROW_GROUPS, HeadLayout, Layout


def layout_of(
    core: HeadedCore,
    tokenizer: Any,
    names: Sequence[str],
    graph: HeadsGraph,
    bags: Mapping[str, int],
    files: Sequence[str],
) -> Layout:
    """Return the layout of a graph.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        names: Names of the heads.
        graph: What was traced.
        bags: Number of bags by name of the heads that read any.
        files: The files whose sizes are recorded.

    Raises:
        ExportError: the backbone computes long texts in another way.
    """
    backbone = core.backbone
    if backbone.row_groups.name not in ROW_GROUPS:
        raise ExportError(
            f"{backbone.name}: computes {backbone.row_groups.name} in another way, and a graph has one way for all "
            "lengths; use the model itself (model.predict)"
        )
    templates = backbone.templates(core.request(core.heads.taps_of(names)))
    return Layout(
        name=backbone.name,
        heads={name: _head_layout(core.heads[name], name, graph, bags.get(name, 0)) for name in names},
        prompts=tuple(templates[prompt] for prompt in graph.prompts),
        accepted=accepted_inputs(core, tokenizer),
        limit=token_limit(backbone.model, tokenizer),
        pad=tokenizer.pad_token_id or 0,
        start=start_of_document(tokenizer),
        row_groups=backbone.row_groups.name,
        language_model=LANGUAGE_MODEL_GRAPH in files,
        sizes=dict.fromkeys(files, 0),
    )


def accepted_inputs(core: HeadedCore, tokenizer: Any) -> frozenset[str]:
    """Return the names of the inputs that the tokenizer gives and the backbone takes."""
    return frozenset({IDS, TYPES} & set(tokenizer("a")) & set(forward_arguments(core.backbone.stack)))


def _head_layout(head: Head, name: str, graph: HeadsGraph, bags: int) -> HeadLayout:
    columns = head.summary.get("text")
    pairs = None if columns is None else isinstance(columns, list)
    return HeadLayout(head.spec, head.decision, graph.outputs[name], pairs, graph.passes_of(name), bags)
