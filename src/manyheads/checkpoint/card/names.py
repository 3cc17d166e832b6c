"""The names that a model card uses for the model and its base; none of them shows a path of a machine."""

from __future__ import annotations

from manyheads.checkpoint.card.markdown import code
from manyheads.checkpoint.format import Checkpoint
from manyheads.errors import counted

_MOST_HEADS = 3


def model_name(checkpoint: Checkpoint) -> str:
    """Return a name for a model without one: its heads and its base."""
    heads = list(checkpoint.heads)
    more = [f"{len(heads) - _MOST_HEADS} more"] if len(heads) > _MOST_HEADS else []
    *first, last = [*heads[:_MOST_HEADS], *more] or ["no heads"]
    shown = f"{', '.join(first)} and {last}" if first else last
    return f"{shown} on {checkpoint.backbone.base or checkpoint.backbone.architecture}"


def about(checkpoint: Checkpoint) -> str:
    """Return the first sentence without its end: the heads, and the base as a link."""
    backbone, heads = checkpoint.backbone, counted(len(checkpoint.heads), "prediction head")
    architecture = code(backbone.architecture)
    if backbone.base is None:
        return f"{heads} on a {architecture}"
    return f"{heads} on [{backbone.base}](https://huggingface.co/{backbone.base}) ({architecture})"
