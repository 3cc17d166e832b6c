"""Replace the decision of a head in a saved model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from manyheads.checkpoint.format import HEADS_JSON, checkpoint_text, read_checkpoint, saved_files
from manyheads.errors import CheckpointError, UnknownHeadError, listed, one_line
from manyheads.heads import Decision
from manyheads.runtime.files import atomic_write
from manyheads.runtime.folders import held


def replace_decision(folder: Path, head: str, decision: Decision) -> None:
    """Replace a head's decision in a saved model, atomically: only ``heads.json`` is written.

    Args:
        folder: The model's folder.
        head: The head's name.
        decision: The new decision.

    Raises:
        UnknownHeadError: the model has no such head.
        CheckpointError: the folder is not a saved model, or cannot be written.
    """
    with held(folder):
        checkpoint = read_checkpoint(folder)
        if head not in checkpoint.heads:
            raise UnknownHeadError(f"{folder}: has no head {head!r}; its heads: {listed(checkpoint.heads)}")
        record = dataclasses.replace(checkpoint.heads[head], decision=decision)
        changed = dataclasses.replace(checkpoint, heads={**checkpoint.heads, head: record})
        try:
            atomic_write(folder / HEADS_JSON, checkpoint_text(changed, saved_files(folder)))
        except OSError as error:
            raise CheckpointError(
                f"{folder}: cannot be written: {one_line(error)}; save to another folder (--out)"
            ) from error
