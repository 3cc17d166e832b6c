"""The bounded queue of work that waits for the model."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from manyheads.server.engine.work import Work


class QueueFullError(Exception):
    """No more work can wait.

    Attributes:
        seconds: About when there is room again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the queue is full for about {seconds} s")
        self.seconds = seconds


class DeadlineError(Exception):
    """The deadline of a work passed before it was computed."""


class ClosedError(Exception):
    """The server is shutting down."""


@dataclass(eq=False)
class Job:
    """A work in the queue.

    Attributes:
        work: What to compute.
        deadline: When its answer is no longer wanted, by ``time.monotonic``.
        answer: The model that answered, and its answer; cancelled when the client is gone.
    """

    work: Work[Any]
    deadline: float
    answer: Future[Any] = field(default_factory=Future)


class WorkQueue:
    """Work that waits for the model, in the order of its arrival.

    Args:
        max_waiting: Most works that wait.
        max_waiting_tokens: About how many tokens wait at most. A single work may have more.
    """

    def __init__(self, max_waiting: int, max_waiting_tokens: int) -> None:
        self._max_waiting = max_waiting
        self._max_tokens = max_waiting_tokens
        self._jobs: deque[Job] = deque()
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

    def put(self, job: Job) -> None:
        """Add a job.

        Raises:
            QueueFullError: no more can wait.
            ClosedError: the server is shutting down.
        """
        with self._changed:
            if self._is_closed:
                raise ClosedError("the server is shutting down")
            if len(self._jobs) >= self._max_waiting or (self._jobs and self._tokens > self._max_tokens):
                self._drop_unwanted()
            if len(self._jobs) >= self._max_waiting or (self._jobs and self._tokens > self._max_tokens):
                raise QueueFullError(max(1, round(self._tokens / self._rate)) if self._rate else 1)
            self._jobs.append(job)
            self._tokens += job.work.size
            self._changed.notify()

    def take(self, tokens: int) -> list[Job]:
        """Wait for work, and return the first job and others of its group; empty once the queue is closed and empty.

        Args:
            tokens: About how many tokens the jobs have together at most; the first one may have more.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._is_closed)
                if not self._jobs:
                    return []
                taken = self._taken(tokens)
            # Not under the lock: a callback of a future may take time.
            wanted = [job for job in taken if job.answer.set_running_or_notify_cancel()]
            if wanted:
                return wanted

    def computed(self, tokens: int, seconds: float) -> None:
        """Note how long some tokens took, for the estimate of when there is room."""
        rate = tokens / max(seconds, 1e-6)
        self._rate = rate if not self._rate else 0.8 * self._rate + 0.2 * rate

    def close(self) -> None:
        """Accept no more jobs; those that wait are still taken."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _taken(self, tokens: int) -> list[Job]:
        self._drop_unwanted()
        taken: list[Job] = []
        kept: deque[Job] = deque()
        size = 0
        for job in self._jobs:
            if not taken or (_together(taken[0], job) and size + job.work.size <= tokens):
                taken.append(job)
                size += job.work.size
            else:
                kept.append(job)
        self._keep(kept)
        return taken

    def _drop_unwanted(self) -> None:
        """Forget jobs whose client is gone, and fail those whose deadline has passed."""
        now = time.monotonic()
        kept = [job for job in self._jobs if not job.answer.cancelled()]
        for job in kept:
            if job.deadline <= now and job.answer.set_running_or_notify_cancel():
                job.answer.set_exception(DeadlineError("the deadline passed before the model was free"))
        self._keep(job for job in kept if not job.answer.done())

    def _keep(self, jobs: Iterable[Job]) -> None:
        self._jobs = deque(jobs)
        self._tokens = sum(job.work.size for job in self._jobs)


def _together(first: Job, other: Job) -> bool:
    return type(first.work) is type(other.work) and first.work.group == other.work.group
