"""Compute the work of requests on one thread, that of several requests together."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, cast

from manyheads.server.engine.queue import DeadlineError, Job, WorkQueue
from manyheads.server.engine.turns import Turns
from manyheads.server.engine.work import Answer, Work
from manyheads.server.metrics.metrics import Metrics
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings


class Engine:
    """Computes the work of requests on one thread, that of several requests together.

    While the model computes, work of one group gathers in the queue; the next batch takes it. A request that arrives
    alone is computed at once.

    Args:
        serving: The model.
        settings: Sizes of the queue and of a batch, and the deadline.
        metrics: What counts batches.
    """

    def __init__(self, serving: Serving, settings: ServerSettings, metrics: Metrics) -> None:
        self.queue = WorkQueue(settings.max_waiting, settings.max_waiting_tokens)
        self.turns = Turns()
        self._serving = serving
        self._settings = settings
        self._metrics = metrics
        metrics.watch_queue(lambda: len(self.queue), lambda: self.queue.tokens)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="manyheads-engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more work, compute what waits, and end the thread."""
        self.queue.close()
        if self._thread is not None:
            self._thread.join()

    async def answer(self, work: Work[Answer]) -> tuple[Served, Answer]:
        """Compute a work, and return the model that answered and its answer.

        Cancelling it takes the work out of the queue.

        Raises:
            QueueFullError: no more work can wait.
            DeadlineError: it took too long.
            ClosedError: the server is shutting down.
            ManyheadsError: the work cannot be answered.
        """
        job = Job(work, time.monotonic() + self._settings.deadline_seconds)
        self.queue.put(job)
        try:
            answer = await asyncio.wait_for(asyncio.wrap_future(job.answer), self._settings.deadline_seconds)
        except asyncio.TimeoutError:
            raise DeadlineError("the model did not answer before the deadline") from None
        return cast(tuple[Served, Answer], answer)

    def _run(self) -> None:
        while jobs := self.queue.take(self._settings.batch_tokens):
            started = time.perf_counter()
            with self.turns.turn():
                served = self._serving.current
                answers = _computed(served, [job.work for job in jobs])
            seconds = time.perf_counter() - started
            self.queue.computed(sum(job.work.size for job in jobs), seconds)
            self._metrics.model_seconds.inc(seconds)
            self._metrics.batch_rows.observe(sum(job.work.rows for job in jobs))
            for job, answer in zip(jobs, answers, strict=True):
                _settle(job, served, answer)


def _computed(served: Served, works: list[Work[Any]]) -> list[Any]:
    try:
        return works[0].run(served, works[1:])
    except Exception as error:  # whatever a model's code raises: the server must go on
        return [error] * len(works)


def _settle(job: Job, served: Served, answer: Any) -> None:
    if isinstance(answer, Exception):
        job.answer.set_exception(answer)
    else:
        job.answer.set_result((served, answer))
