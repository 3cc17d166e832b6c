"""The bounded queue of work that waits for the model."""

from __future__ import annotations

import threading

from manyheads.server.engine.job import Job


class QueueFullError(Exception):
    """No more work can wait.

    Attributes:
        seconds: About when there is room again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the queue is full for about {seconds} s")
        self.seconds = seconds


class ClosedError(Exception):
    """The server is shutting down."""


class WorkQueue:
    """Work that waits for the model, in the order of its arrival.

    Args:
        max_waiting: Most works that wait.
        max_waiting_tokens: About how many tokens wait at most. A single work may have more.
    """

    def __init__(self, max_waiting: int, max_waiting_tokens: int) -> None:
        self._max_waiting = max_waiting
        self._max_tokens = max_waiting_tokens
        # In order of arrival. A dict, so that a job whose client left is removed at once, wherever it stands.
        self._jobs: dict[Job, None] = {}
        self._tokens = 0
        self._rate = 0.0
        self._is_closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def tokens(self) -> int:
        """About how many tokens wait."""
        return self._tokens

    @property
    def is_closed(self) -> bool:
        """Whether no more work is accepted."""
        return self._is_closed

    def put(self, job: Job) -> None:
        """Add a job.

        Raises:
            QueueFullError: no more can wait.
            ClosedError: the server is shutting down.
        """
        with self._changed:
            if self._is_closed:
                raise ClosedError("the server is shutting down")
            if len(self._jobs) >= self._max_waiting or (self._jobs and self._tokens + job.size > self._max_tokens):
                raise QueueFullError(self.seconds_to_room())
            self._jobs[job] = None
            self._tokens += job.size
            self._changed.notify()

    def remove(self, job: Job) -> None:
        """Remove a job if it still waits."""
        with self._changed:
            self._remove(job)

    def take(self, tokens: int) -> list[Job]:
        """Wait for work, and return the first job and others of its group; empty once the queue is closed and empty.

        Args:
            tokens: About how many tokens the jobs have together at most; the first one may have more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._is_closed)
            return self._taken(list(self._jobs), tokens)

    def take_small(self, tokens: int) -> list[Job]:
        """Return the first job that has no more tokens than these and others of its group; empty if none waits."""
        with self._changed:
            return self._taken([job for job in self._jobs if job.size <= tokens], tokens)

    def computed(self, tokens: int, seconds: float) -> None:
        """Note how long some tokens took, for the estimate of when there is room."""
        rate = tokens / max(seconds, 1e-6)
        self._rate = rate if not self._rate else 0.8 * self._rate + 0.2 * rate

    def seconds_to_room(self) -> int:
        """Return about when what waits is computed, at least 1."""
        return max(1, round(self._tokens / self._rate)) if self._rate else 1

    def open(self) -> None:
        """Accept jobs."""
        with self._changed:
            self._is_closed = False

    def close(self) -> None:
        """Accept no more jobs; those that wait are still taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _taken(self, waiting: list[Job], tokens: int) -> list[Job]:
        """Remove the first of some waiting jobs and those that fit beside it, and return them."""
        taken: list[Job] = []
        size = 0
        for job in waiting:
            if not taken or (job.key == taken[0].key and size + job.size <= tokens):
                taken.append(job)
                size += job.size
                self._remove(job)
        return taken

    def _remove(self, job: Job) -> None:
        if job in self._jobs:
            del self._jobs[job]
            self._tokens -= job.size
