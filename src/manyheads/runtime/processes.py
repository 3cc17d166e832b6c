"""The processes of one run that ``torchrun`` or ``accelerate launch`` started."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def process_count() -> int:
    """Return the number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this is the process with rank 0, which writes files and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Block until every process has called this function."""
    if _is_distributed():
        import torch.distributed

        torch.distributed.barrier()


def from_first(value: T) -> T:
    """Return the first process's value on every process, so that all take the same decision."""
    if not _is_distributed():
        return value
    import torch.distributed

    values = [value]
    torch.distributed.broadcast_object_list(values)
    return values[0]


def _is_distributed() -> bool:
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
