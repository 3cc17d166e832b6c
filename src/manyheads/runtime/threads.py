"""The number of threads that torch computes with.

Threads of one operation wait for each other, and beside other busy processes each wait takes a turn of the scheduler,
some milliseconds. Many small operations are therefore faster on one thread: a little on a quiet machine, many times on
a busy one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Multiplications of a product that several threads share: some milliseconds on one. Where waiting threads spin, they
# lose their turn to other processes, so that it must take longer than such a turn.
_MIN_MULTIPLICATIONS, _MIN_MULTIPLICATIONS_SPINNING = 200_000_000, 2_000_000_000


@contextmanager
def threads(count: int) -> Iterator[int]:
    """Run torch's operations on this many threads, and yield the number outside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def is_worth_threads(multiplications: int) -> bool:
    """Return whether a matrix product is large enough for several threads, on a busy machine too."""
    return multiplications > (_MIN_MULTIPLICATIONS_SPINNING if _spin() else _MIN_MULTIPLICATIONS)


def threads_of_factorizations() -> int:
    """Return the number of threads for factorizations, whose threads wait for each other at every block of columns."""
    return 1 if _spin() else torch.get_num_threads()


def _spin() -> bool:
    """Return whether waiting threads spin, which OpenMP decides when torch is imported."""
    return os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE"
