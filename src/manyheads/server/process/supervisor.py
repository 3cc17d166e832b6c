"""The process above several workers: starts, restarts, reloads and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable
from typing import Any

from manyheads.errors import ManyheadsError, one_line
from manyheads.server.process.about import About, announce
from manyheads.server.process.child import Child
from manyheads.server.process.launch import Launch
from manyheads.server.process.link import LinkClosedError
from manyheads.server.reload import Reload

_LOG = logging.getLogger("manyheads.server")
# After the time that a worker has to answer what is in flight.
_KILL_AFTER = 0.5
_METRICS_SECONDS = 2.0
# A worker that ends is started again at once; after another failure 2 s later, then 4, up to this.
_MOST_SECONDS_BETWEEN_STARTS = 60.0
# Restarts of a worker that ran this long count anew.
_STABLE_SECONDS = 60.0


def supervise(launch: Launch, workers: int) -> None:
    """Serve a model by several processes until SIGTERM or SIGINT; SIGHUP reloads the model in all of them.

    Raises:
        ManyheadsError: a worker cannot start.
    """
    asyncio.run(_Supervisor(launch, workers).run())


class _Supervisor:
    def __init__(self, launch: Launch, workers: int) -> None:
        self._launch = launch
        self._numbers = range(1, workers + 1)
        self._children: dict[int, Child] = {}
        self._stopping = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Future[Any]] = set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_signal_handler(signal.SIGINT, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        try:
            for number in self._numbers:
                self._start(number)
            started = await self._unless_stopping(asyncio.gather(*(self._about(number) for number in self._numbers)))
            if started is not None:
                announce(started[0], self._launch.address.url, len(started))
                await self._unless_stopping(asyncio.gather(*(self._keep(number) for number in self._numbers)))
        finally:
            await self._stop()

    async def _unless_stopping(self, work: asyncio.Future[Any]) -> Any:
        """Return what some work returns, or ``None`` once this process shall stop."""
        stop = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({stop, work}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if work.done():
            return work.result()
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        return None

    def _start(self, number: int) -> None:
        self._children[number] = Child(self._launch, {"reload": self._reload, "metrics": self._metrics})

    async def _about(self, number: int) -> About:
        try:
            about: About = await self._children[number].link.ask("about")
        except LinkClosedError:
            raise ManyheadsError(f"worker {number}: ended while it started; see the lines above") from None
        return about

    async def _keep(self, number: int) -> None:
        """Start a worker again whenever it ends."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            started = loop.time()
            await self._children[number].ended()
            failures = 1 if loop.time() - started > _STABLE_SECONDS else failures + 1
            fields = {"worker": number, "exit_code": self._children[number].exit_code}
            _LOG.error("a worker ended; another takes its place", extra={"fields": fields})
            await asyncio.sleep(0 if failures == 1 else min(2.0 ** (failures - 1), _MOST_SECONDS_BETWEEN_STARTS))
            self._start(number)
            try:
                await self._about(number)
            except ManyheadsError as error:
                _LOG.error("a worker cannot start", extra={"fields": {"worker": number, "reason": one_line(error)}})

    def _reload_soon(self) -> None:
        task = asyncio.ensure_future(self._reload())
        self._reloads.add(task)  # the loop itself holds no reference
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> Reload:
        """Reload one worker after the other, so that only one holds two models; the first that cannot ends it."""
        outcome: Reload | None = None
        async with self._reloading:
            for number in self._numbers:
                with contextlib.suppress(LinkClosedError):  # the one that takes its place loads the newer model
                    outcome = await self._children[number].link.ask("reload")
                    if outcome is not None and outcome.error_type is not None:
                        return outcome
        if outcome is None:
            raise LinkClosedError("no worker runs")
        return outcome

    async def _metrics(self) -> Any:
        """Return the metrics of all workers that answer; one that starts has none yet."""
        from manyheads.server.metrics.exposition import of_workers

        asked = [self._metrics_of(number) for number in self._numbers]
        answers = await asyncio.gather(*asked)
        return of_workers(
            {str(number): answer for number, answer in zip(self._numbers, answers, strict=True) if answer}
        )

    async def _metrics_of(self, number: int) -> Any:
        asked: Awaitable[Any] = self._children[number].link.ask("metrics")
        try:
            return await asyncio.wait_for(asked, _METRICS_SECONDS)
        except (asyncio.TimeoutError, LinkClosedError):
            return None

    async def _stop(self) -> None:
        """Let all workers answer what is in flight, and end those that take too long."""
        children = list(self._children.values())
        for child in children:
            child.terminate()
        ended = asyncio.gather(*(child.ended() for child in children))
        try:
            await asyncio.wait_for(ended, self._launch.settings.drain_seconds + _KILL_AFTER)
        except asyncio.TimeoutError:
            for child in children:
                child.kill()
            await asyncio.gather(*(child.ended() for child in children))
