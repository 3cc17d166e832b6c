"""The state that a Trainer writes to a checkpoint and reads back: trainable weights and the state of callbacks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.utils import SAFE_WEIGHTS_NAME

from manyheads.errors import CorruptCheckpointError, NotACheckpointError, WrongRunError, listed
from manyheads.training.resuming.checkpoints import damage, keep_newest, mark_complete, newest_complete


class CheckpointedCallback(transformers.TrainerCallback):  # type: ignore[misc]
    """A callback whose state is part of every checkpoint.

    Attributes:
        ended: Whether training had ended when the checkpoint was written.
    """

    ended = False

    def save_state(self, folder: Path) -> None:
        """Write the state to a checkpoint."""

    def load_state(self, folder: Path) -> None:
        """Read the state from a checkpoint."""


def checkpoint_to_resume(wanted: str | bool, output_dir: Path) -> Path:
    """Return the checkpoint to resume from, with all its files verified.

    Args:
        wanted: The checkpoint's folder, or True for the newest complete one.
        output_dir: Folder of the checkpoints.

    Raises:
        NotACheckpointError: there is no complete checkpoint.
        CorruptCheckpointError: the named one is damaged or incomplete.
    """
    if wanted is True:
        newest = newest_complete(output_dir)
        if newest is None:
            raise NotACheckpointError(f"{output_dir}: has no complete checkpoint to resume from")
        return newest
    folder = Path(str(wanted))
    wrong = damage(folder)
    if wrong is not None:
        raise CorruptCheckpointError(f"{folder}: {wrong}; resume from another one, or start again")
    return folder


def finish_checkpoint(
    folder: Path, callbacks: Iterable[CheckpointedCallback], limit: int | None, best: str | None
) -> None:
    """Add the callbacks' state to a checkpoint and mark it as complete, then delete older ones.

    Args:
        folder: The checkpoint, complete except for the callbacks.
        callbacks: Callbacks with a state.
        limit: Number of checkpoints to keep; ``None`` or 0 for all.
        best: The best checkpoint, which is kept in any case.
    """
    for callback in callbacks:
        callback.save_state(folder)
    mark_complete(folder)
    if limit:
        keep_newest(folder.parent, limit, None if best is None else Path(best))


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's state without weights that do not train, each tensor under one name."""
    frozen = {name for name, tensor in model.named_parameters(remove_duplicate=False) if not tensor.requires_grad}
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}
    first: dict[tuple[int, torch.Size], str] = {}
    return {
        name: tensor
        for name, tensor in state.items()
        if not tensor.numel() or first.setdefault((tensor.data_ptr(), tensor.shape), name) == name
    }


def load_trainable_state(model: nn.Module, checkpoint: Path) -> None:
    """Copy the trainable weights of a checkpoint into a model.

    Raises:
        WrongRunError: other parameters train in this model, or they have other shapes.
    """
    saved, state = load_file(checkpoint / SAFE_WEIGHTS_NAME), trainable_state(model)
    wrong = [name for name in {**saved, **state} if name not in saved or name not in state]
    wrong += [name for name in saved if name in state and saved[name].shape != state[name].shape]
    if wrong:
        raise WrongRunError(
            f"{checkpoint}: belongs to another model, or other parts of it train: {listed(wrong, most=3)}; resume with "
            "the same model and settings"
        )
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(saved[name])
