"""Several processes of one run, as ``torchrun`` and ``accelerate launch`` start them."""

from __future__ import annotations

import os
from typing import TypeVar

import torch.distributed as dist

__all__ = ["from_first", "is_first", "process_count", "wait_for_all"]

T = TypeVar("T")


def process_count() -> int:
    """Return the number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait_for_all() -> None:
    """Return once every process has come here."""
    if _together():
        dist.barrier()


def from_first(value: T) -> T:
    """Return the first process's value on every process, so that they decide alike."""
    if not _together():
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def _together() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first() -> bool:
    """Tell whether this is the process that writes and speaks for all that ``torchrun`` started."""
    return int(os.environ.get("RANK", "0")) == 0
