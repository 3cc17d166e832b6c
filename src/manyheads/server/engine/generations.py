"""Generate the texts of one request after the other, beside the predictions of all others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

from manyheads.errors import ManyheadsError
from manyheads.inference.generation_events import Event, GenerationEnd
from manyheads.runtime.random_state import RandomState
from manyheads.server.engine.engine import WorkFailedError
from manyheads.server.engine.generate_work import GenerateWork
from manyheads.server.engine.job import Job
from manyheads.server.engine.queue import WorkQueue
from manyheads.server.engine.queue_thread import QueueThread
from manyheads.server.engine.turns import Turns
from manyheads.server.metrics.metrics import Metrics
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings


class Generations(QueueThread):
    """Generates the texts of one request after the other, on a thread of its own.

    Between two tokens, other threads have their turn of the model, so that predictions wait for a token and not for a
    text. In a model that keeps state in its modules while it generates they wait for all of it.

    Args:
        serving: The model.
        turns: Who may run the model.
        settings: Size of the queue, and the deadline.
        metrics: What counts tokens.
    """

    def __init__(self, serving: Serving, turns: Turns, settings: ServerSettings, metrics: Metrics) -> None:
        super().__init__(WorkQueue(settings.max_generations, settings.max_waiting_tokens), "manyheads-generations")
        self._serving = serving
        self._turns = turns
        self._seconds = settings.generation_seconds
        self._metrics = metrics
        metrics.watch_generations(lambda: len(self.queue))

    async def generate(self, work: GenerateWork) -> None:
        """Generate, and return once the last event was received.

        Cancelling it takes the work out of the queue, or stops it at the next token.

        Raises:
            QueueFullError: no more work can wait.
            DeadlineError: it took too long.
            ClosedError: the server is shutting down.
            ManyheadsError: the model cannot continue the texts.
            WorkFailedError: the code of the model failed.
        """
        job = Job(work, asyncio.get_running_loop().time() + self._seconds)
        self.queue.put(job)
        try:
            await job.answered()
        finally:
            self.queue.remove(job)

    def _run(self) -> None:
        while jobs := self.queue.take(0):
            started = time.perf_counter()
            for job in jobs:
                self._compute(job, cast(GenerateWork, job.work), self._serving.current)
                self.queue.computed(job.size, time.perf_counter() - started)

    def _compute(self, job: Job, work: GenerateWork, served: Served) -> None:
        error = self._generated(job, work, served)
        _on_loop(job, lambda: job.settle(served, error))

    def _generated(self, job: Job, work: GenerateWork, served: Served) -> Exception | None:
        """Generate, and return the error, if any."""

        def emit(event: Event) -> None:
            if isinstance(event, GenerationEnd):
                self._metrics.generated_tokens.inc(sum(event.output_tokens))
            _on_loop(job, lambda: work.receive(served, event))

        random = RandomState(served.core.backbone.device, work.seed)
        try:
            with self._turns.turn(), self._computing() as clock, random.used():
                work.prepared(served).run(emit, self._pause_of(job, served, random, clock))
        except ManyheadsError as error:
            return error
        except BaseException as cause:  # also a panic of the tokenizer's Rust code: the thread must go on
            return _failed(cause)
        return None

    @contextmanager
    def _computing(self) -> Iterator[_Clock]:
        """Count the seconds of a block, without those in which its clock stands still."""
        clock = _Clock()
        try:
            yield clock
        finally:
            self._metrics.model_seconds.inc(clock.seconds)

    def _pause_of(self, job: Job, served: Served, random: RandomState, clock: _Clock) -> Callable[[], bool]:
        """Return what happens between two tokens: others have their turn. It returns whether to go on."""
        interleaves = served.core.backbone.can_interleave

        def pause() -> bool:
            if job.is_wanted and interleaves and self._turns.is_wanted:
                with random.set_aside(), clock.standing():
                    self._turns.pass_on()
            return job.is_wanted

        return pause


class _Clock:
    """Measures the time since it was made, without that in which it stood still."""

    def __init__(self) -> None:
        self._since = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The time."""
        return time.perf_counter() - self._since

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Stand still inside the ``with`` block."""
        stopped = time.perf_counter()
        yield
        self._since += time.perf_counter() - stopped


def _failed(cause: BaseException) -> WorkFailedError:
    error = WorkFailedError(f"the model failed with {type(cause).__name__}")
    error.__cause__ = cause
    return error


def _on_loop(job: Job, call: Callable[[], None]) -> None:
    """Call a function on the event loop of a request."""
    with suppress(RuntimeError):  # the loop is closed: nobody waits there
        job.loop.call_soon_threadsafe(call)
