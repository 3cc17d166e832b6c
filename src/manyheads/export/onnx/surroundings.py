"""What stands beside an exported graph: the layout of heads, prompts and limits, and the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.backbone.limits import token_limit
from manyheads.backbone.stack.probe import forward_arguments
from manyheads.core import HeadedCore
from manyheads.data.texts.tokenize import start_of_document
from manyheads.heads import Head
from manyheads.onnx.layout import HeadLayout, Layout
from manyheads.taps import Lexical


def layout_of(
    core: HeadedCore,
    tokenizer: Any,
    outputs: Mapping[str, str],
    prompts: Sequence[str],
    language_model: bool,
    files: Sequence[str],
) -> Layout:
    """Return the layout of a graph.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        outputs: Head name -> name of the graph's output with its logits.
        prompts: The prompt of each pass from 1 on.
        language_model: Whether there is a graph with the language model's logits.
        files: The files whose sizes are recorded.
    """
    backbone = core.backbone
    request = core.request(core.heads.taps_of(outputs))
    templates = backbone.templates(request)
    return Layout(
        name=backbone.name,
        heads={name: _head_layout(core, name, output, prompts) for name, output in outputs.items()},
        prompts=tuple(templates[prompt] for prompt in prompts),
        accepted=frozenset(forward_arguments(backbone.stack)) & {"input_ids", "token_type_ids"},
        limit=token_limit(backbone.model, tokenizer),
        pad=tokenizer.pad_token_id or 0,
        start=start_of_document(tokenizer),
        row_groups=backbone.row_groups.name,
        language_model=language_model,
        sizes=dict.fromkeys(files, 0),
    )


def _head_layout(core: HeadedCore, name: str, output: str, prompts: Sequence[str]) -> HeadLayout:
    head = core.heads[name]
    request = core.request(core.heads.taps_of([name]))
    text = not request.trunk.empty or bool(request.branches)
    passes = (*((0,) if text else ()), *(prompts.index(prompt) + 1 for prompt in request.prompts))
    return HeadLayout(head.spec, head.decision, output, _reads_pairs(head), passes, _bags(head))


def _reads_pairs(head: Head) -> bool | None:
    columns = head.summary.get("text")
    return None if columns is None else isinstance(columns, list)


def _bags(head: Head) -> int:
    return sum(isinstance(tap, Lexical) for tap in head.taps)
