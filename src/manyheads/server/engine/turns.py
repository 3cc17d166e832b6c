"""Give the model to one thread at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that threads get in the order in which they ask for it.

    A generation gives up its turn after each token, so that predictions do not wait for its last one.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._is_taken = False

    @property
    def is_wanted(self) -> bool:
        """Whether a thread waits for the turn."""
        return bool(self._waiting)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn, and keep it inside the ``with`` block."""
        self.take()
        try:
            yield
        finally:
            self.release()

    def take(self) -> None:
        """Wait for the turn."""
        with self._guard:
            if not self._is_taken:
                self._is_taken = True
                return
            own = threading.Event()
            self._waiting.append(own)
        own.wait()

    def release(self) -> None:
        """Give the turn to the thread that has waited longest."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False

    def pass_on(self) -> None:
        """Let each thread that waits have its turn, and take the next one."""
        with self._guard:
            if not self._waiting:
                return
        self.release()
        self.take()
