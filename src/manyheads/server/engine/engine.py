"""Compute the work of requests on one thread, that of several requests together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from manyheads.errors import ManyheadsError
from manyheads.runtime.progress import quietly
from manyheads.server.engine.job import Job
from manyheads.server.engine.queue import WorkQueue
from manyheads.server.engine.queue_thread import QueueThread
from manyheads.server.engine.turns import Turns
from manyheads.server.engine.work import Answer, Work
from manyheads.server.metrics.metrics import Metrics
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings


class WorkFailedError(Exception):
    """The code of the model raised an unexpected error, which is the cause of this one."""


class AbandonedError(Exception):
    """Nobody waits for the work any more."""


class Engine(QueueThread):
    """Computes the work of requests on one thread, that of several requests together.

    While the model computes, work of one group gathers in the queue; the next batch takes it. A request that arrives
    alone is computed at once. A work that is larger than a batch lets smaller ones pass between its own batches.

    Args:
        serving: The model.
        settings: Sizes of the queue and of a batch, and the deadline.
        metrics: What counts batches.
    """

    def __init__(self, serving: Serving, settings: ServerSettings, metrics: Metrics) -> None:
        super().__init__(WorkQueue(settings.max_waiting, settings.max_waiting_tokens), "manyheads-engine")
        self.turns = Turns()
        self._serving = serving
        self._settings = settings
        self._metrics = metrics
        metrics.watch_queue(lambda: len(self.queue), lambda: self.queue.tokens)

    async def answer(self, work: Work[Answer]) -> tuple[Served, Answer]:
        """Compute a work, and return the model that answered and its answer.

        Cancelling it takes the work out of the queue, or abandons it between two batches of the model.

        Raises:
            QueueFullError: no more work can wait.
            DeadlineError: it took too long.
            ClosedError: the server is shutting down.
            ManyheadsError: the work cannot be answered.
            WorkFailedError: the code of the model failed.
        """
        job = Job(work, asyncio.get_running_loop().time() + self._settings.deadline_seconds)
        self.queue.put(job)
        try:
            return cast(tuple[Served, Answer], await job.answered())
        finally:
            self.queue.remove(job)

    def _run(self) -> None:
        while jobs := self.queue.take(self._settings.batch_tokens):
            with self.turns.turn():
                self._compute(jobs, self._pause_of(jobs))

    def _compute(self, jobs: Sequence[Job], pause: Callable[[], None]) -> None:
        started = time.perf_counter()
        served = self._serving.current
        with quietly():  # a display of each batch would start a thread
            answers = _computed(served.pausing(pause), [job.work for job in jobs])
        self._note(jobs, time.perf_counter() - started)
        _deliver(served, list(zip(jobs, answers, strict=True)))

    def _note(self, jobs: Sequence[Job], seconds: float) -> None:
        self.queue.computed(sum(job.size for job in jobs), seconds)
        self._metrics.model_seconds.inc(seconds)
        self._metrics.batch_rows.observe(sum(job.work.rows for job in jobs))

    def _pause_of(self, jobs: Sequence[Job]) -> Callable[[], None]:
        """Return what happens between two batches of the model that one pass of these jobs takes."""
        is_large = sum(job.size for job in jobs) > self._settings.batch_tokens

        def pause() -> None:
            _check_wanted(jobs)
            self.turns.pass_on()
            if is_large:
                self._compute_small()
                _check_wanted(jobs)

        return pause

    def _compute_small(self) -> None:
        jobs = self.queue.take_small(self._settings.batch_tokens)
        if jobs:
            self._compute(jobs, lambda: _check_wanted(jobs))


def _check_wanted(jobs: Sequence[Job]) -> None:
    if not any(job.is_wanted for job in jobs):
        raise AbandonedError("nobody waits for the work any more")


def _computed(served: Served, works: Sequence[Work[Any]]) -> list[Any]:
    """Return the answer or the error of each work; where works fail together, each is computed alone."""
    try:
        answers = works[0].run(served, works[1:])
        if len(answers) != len(works):
            raise RuntimeError(f"{type(works[0]).__name__}: returned {len(answers)} answers for {len(works)} works")
        return answers
    except AbandonedError as error:
        return [error] * len(works)
    # Also what is no Exception: a panic of the tokenizer's Rust code is none. The thread must go on.
    except BaseException as error:
        if len(works) > 1:
            return [answer for work in works for answer in _computed(served, [work])]
        return [error if isinstance(error, ManyheadsError) else _failed(error)]


def _failed(cause: BaseException) -> WorkFailedError:
    error = WorkFailedError(f"the model failed with {type(cause).__name__}")
    error.__cause__ = cause
    return error


def _deliver(served: Served, answers: Sequence[tuple[Job, Any]]) -> None:
    """Settle jobs on their event loops: one call for all jobs of a loop, for it wakes up at each call."""
    for loop in {job.loop for job, _ in answers}:
        own = [(job, answer) for job, answer in answers if job.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle, served, own)
        except RuntimeError:  # the loop is closed: nobody waits there
            continue


def _settle(served: Served, answers: Sequence[tuple[Job, Any]]) -> None:
    for job, answer in answers:
        job.settle(served, answer)
