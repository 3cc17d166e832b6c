"""Keep Python's garbage collector away from what imports leave behind.

Importing torch and transformers makes millions of objects that stay for the life of the process. The collector walks
through them again and again, also later and at exit, without finding any to free: a quarter of the time of a command
that predicts one row.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected_imports() -> Iterator[None]:
    """Collect no garbage meanwhile, then as before, but leave out all objects that exist by then.

    For a command, whose process ends soon; what is garbage by then stays.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def collect_and_freeze() -> None:
    """Collect all garbage, and leave out what exists by then of later collections.

    For a process that has loaded what it works with for the rest of its life.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def collect_all() -> None:
    """Collect all garbage, also among objects that were left out; if there were any, the same is true afterwards."""
    if gc.get_freeze_count():
        collect_and_freeze()
    else:
        gc.collect()
