"""The model card of an exported head: metadata, and sections of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.checkpoint.card.base_card import license_in
from manyheads.checkpoint.card.markdown import code
from manyheads.core import HeadedCore
from manyheads.export.linear import ExportedHead


def card(
    core: HeadedCore,
    head: ExportedHead,
    metadata: Mapping[str, Any],
    about: str,
    sections: Mapping[str, str],
    notes: Sequence[str],
) -> str:
    """Return a card as Markdown.

    Args:
        core: Backbone and heads.
        head: The head.
        metadata: For the hub; the license of the backbone is added.
        about: What the folder is, in sentences.
        sections: Heading -> Markdown.
        notes: What was folded and what is left out.
    """
    from huggingface_hub import ModelCardData

    source = core.backbone.source
    license = {} if source is None else license_in(source.folder)
    differences = {"Differences": "\n".join(f"- {note}" for note in notes)} if notes else {}
    texts = [f"## {heading}\n\n{text}" for heading, text in {**sections, **differences}.items()]
    start = f"---\n{ModelCardData(**license, **metadata).to_yaml()}\n---"
    return "\n\n".join([start, f"# {code(head.name)}", about, *texts]) + "\n"
