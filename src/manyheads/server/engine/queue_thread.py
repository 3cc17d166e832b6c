"""A thread that computes what waits in a queue."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

from manyheads.server.engine.queue import WorkQueue


class QueueThread(ABC):
    """A thread that computes what waits in a queue.

    Args:
        queue: What waits.
        name: The name of the thread.
    """

    def __init__(self, queue: WorkQueue, name: str) -> None:
        self.queue = queue
        self._name = name
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Accept work, and start the thread."""
        self.queue.open()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more work, compute what waits, and end the thread.

        Blocks until then; the answers need the event loop, so call it in another thread than the loop's.
        """
        self.queue.close()
        if self._thread is not None:
            self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """Compute until the queue is closed and empty."""
