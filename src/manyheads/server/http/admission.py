"""Bound the number of requests that are answered at once, before anything of them is read."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from manyheads.server.engine.queue import QueueFullError


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
            await self._app(scope, receive, send)
        finally:
            self._waiting -= 1


def _computes(scope: Scope) -> bool:
    """Return whether a request needs the model; health, metrics and a reload are answered however much waits."""
    return scope["type"] == "http" and scope["method"] == "POST" and not scope["path"].startswith("/admin/")
