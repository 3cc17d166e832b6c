"""Stop working for clients that left."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

Result = TypeVar("Result")


class ClientGoneError(Exception):
    """The client closed the connection before its answer."""


async def unless_gone(request: Request, answering: Coroutine[Any, Any, Result]) -> Result:
    """Wait for an answer, and cancel it when the client closes the connection.

    Args:
        request: A request whose body was read.
        answering: What answers it.

    Raises:
        ClientGoneError: the client is gone.
    """
    answer = asyncio.ensure_future(answering)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientGoneError("the client closed the connection")
        return answer.result()
    finally:
        _drop(gone)
        _drop(answer)


def _drop(task: asyncio.Task[Any]) -> None:
    """Cancel a task whose outcome no longer matters; asyncio would log an error that nobody reads."""
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
