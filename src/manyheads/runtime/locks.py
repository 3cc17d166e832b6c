"""A lock on a folder that ends with the process that holds it, however that ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from manyheads.errors import OutputError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextmanager
def locked(path: Path, owner: str) -> Iterator[None]:
    """Hold a lock on a file, which is made if it is absent; where the file system has no locks, nothing is held.

    Args:
        path: The file; it names the process that holds the lock.
        owner: What is locked, for messages.

    Raises:
        OutputError: another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _acquired(handle):
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
            raise OutputError(f"{owner}: {holder} is writing it; wait until it has finished, or choose another place")
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def _acquired(handle: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return True
    return True
