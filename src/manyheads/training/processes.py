"""Several processes of one run, as ``torchrun`` and ``accelerate launch`` start them."""

from __future__ import annotations

import os

import torch.distributed as dist


def process_count() -> int:
    """Return the number of processes of this run."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Tell whether this is the process that writes and speaks for all."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all() -> None:
    """Return once every process has come here."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
