"""A work in the queue, and how its answer reaches the request."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

from manyheads.server.engine.work import Work
from manyheads.server.served import Served


class DeadlineError(Exception):
    """The deadline of a work passed before it was computed."""


class Job:
    """A work in the queue. Made on the event loop of the request that waits for its answer.

    Args:
        work: What to compute.
        deadline: When its answer comes too late, by the loop's clock.

    Attributes:
        size: About how many tokens the work has.
        key: What jobs must have in common to be computed together.
        is_wanted: False once the request has gone or its deadline has passed.
    """

    def __init__(self, work: Work[Any], deadline: float) -> None:
        self.work = work
        self.size = work.size
        self.key: Hashable = (type(work), work.group)
        self.loop = asyncio.get_running_loop()
        self.is_wanted = True
        self._deadline = deadline
        self._answer: asyncio.Future[tuple[Served, Any]] = self.loop.create_future()

    async def answered(self) -> tuple[Served, Any]:
        """Wait for the model that answered, and its answer.

        Raises:
            DeadlineError: it did not come before the deadline.
            Exception: the work failed.
        """
        timer = self.loop.call_at(self._deadline, self._expire)
        try:
            return await self._answer
        finally:
            timer.cancel()
            self.is_wanted = False

    def settle(self, served: Served, answer: Any) -> None:
        """Give the waiting request its answer or its error. Called on the event loop."""
        if self._answer.done():
            return
        if isinstance(answer, Exception):
            self._answer.set_exception(answer)
        else:
            self._answer.set_result((served, answer))

    def _expire(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(DeadlineError("the model did not answer before the deadline"))
