"""Bound the number of requests that are answered at once, before anything of them is read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from manyheads.server.engine.queue import QueueFullError

# Reading and checking a request takes about as long as rejecting three.
_BEGUN_PER_ROUND = 4


class Admission:
    """Answers a request with status 429 if too many others wait for their answers.

    The queue has the same bound, but a request reaches it only after its body was read and checked. In a burst, that
    takes longer than a client should wait for a rejection.

    Args:
        app: The application.
        most: Most requests that wait for their answers.
        seconds_to_room: Returns about when there is room again.
    """

    def __init__(self, app: ASGIApp, most: int, seconds_to_room: Callable[[], int]) -> None:
        self._app = app
        self._most = most
        self._seconds_to_room = seconds_to_room
        self._waiting = 0
        self._rounds = _Rounds(_BEGUN_PER_ROUND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.

        Raises:
            QueueFullError: too many wait.
        """
        if not _computes(scope):
            await self._app(scope, receive, send)
            return
        if self._waiting >= self._most:
            raise QueueFullError(self._seconds_to_room())
        self._waiting += 1
        try:
            await self._rounds.begin()
            await self._app(scope, receive, send)
        finally:
            self._waiting -= 1


def _computes(scope: Scope) -> bool:
    """Return whether a request needs the model; health, metrics and a reload are answered however much waits."""
    return scope["type"] == "http" and scope["method"] == "POST" and not scope["path"].startswith("/admin/")


class _Rounds:
    """Begins a few requests in each round of the event loop, so that in a burst those to reject need not wait for the
    beginning of all others.

    Args:
        most: Requests that begin in a round.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._begun = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def begin(self) -> None:
        """Return at once, or in a later round."""
        loop = asyncio.get_running_loop()
        if self._begun == self._most or self._waiting:
            place = loop.create_future()
            self._waiting.append(place)
            await place
            return
        if not self._begun:
            loop.call_soon(self._next)
        self._begun += 1

    def _next(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < self._most:
            place = self._waiting.popleft()
            if not place.done():  # cancelled otherwise
                place.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next)
