"""Threads of torch for each of several workers."""

from __future__ import annotations

import os


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_worker(workers: int) -> int | None:
    """Return a worker's share of the cores; ``None`` where torch or the environment decides.

    More threads than cores wait for each other.
    """
    if workers == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, cores() // workers)
