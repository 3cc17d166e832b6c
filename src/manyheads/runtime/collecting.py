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
