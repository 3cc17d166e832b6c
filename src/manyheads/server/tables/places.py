"""A limit on how many tables are scored at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from manyheads.server.engine.queue import QueueFullError

# A table takes longer than a text.
_RETRY_SECONDS = 10


class Places:
    """Counts the tables that are scored, so that their blocks leave room in the queue for other requests.

    For the thread of the event loop alone.

    Args:
        most: Most of them at once.
    """

    def __init__(self, most: int) -> None:
        self._free = most

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place, and give it back after the ``with`` block.

        Raises:
            QueueFullError: all are taken.
        """
        if not self._free:
            raise QueueFullError(_RETRY_SECONDS)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
