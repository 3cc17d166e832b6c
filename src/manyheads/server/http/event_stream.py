"""Responses of server-sent events, which end early when the client leaves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from manyheads.server.http.errors import error_response, error_type
from manyheads.server.http.facts import facts_in
from manyheads.server.http.gone import ClientGoneError, unless_gone
from manyheads.server.http.json_response import as_json

_LOG = logging.getLogger("manyheads.server")
# Proxies close connections that are silent for a minute.
_KEEP_ALIVE_SECONDS = 15.0
_KEEP_ALIVE = b": keep-alive\n\n"
_FAILED = {"detail": {"error_type": "internal_error", "message": "See the log"}}

# Takes the name and the data of an event.
Emit = Callable[[str, Mapping[str, Any]], None]


async def event_stream(request: Request, work: Callable[[Emit], Awaitable[None]]) -> Response:
    """Return a response of the events that some work emits.

    Args:
        request: A request whose body was read.
        work: Emits the events, on this event loop. It is cancelled when the client leaves.

    Raises:
        ClientGoneError: the client is gone before the first event.
        Exception: the work fails before its first event, and soon: the response has then not begun.
    """
    chunks = _chunks(work)
    return _EventStream(await unless_gone(request, _next(chunks)), chunks)


class _EventStream(Response):
    """A response of chunks that are still to come.

    Args:
        first: The first chunk.
        chunks: The others.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, chunks: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the chunks as they come.

        Raises:
            ClientGoneError: the client is gone.
        """
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_chunks(scope, receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            raise ClientGoneError("the client closed the connection") from None
        finally:
            await self._chunks.aclose()

    async def _send_chunks(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunk = self._first
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            try:
                chunk = await unless_gone(Request(scope, receive), _next(self._chunks))
            except ClientGoneError:
                raise
            except Exception as error:
                facts_in(scope).error_type = error_type(error)
                await send({"type": "http.response.body", "body": _error_event(error), "more_body": True})
                return


async def _next(chunks: AsyncGenerator[bytes, None]) -> bytes:
    """Return the next chunk; empty after the last one."""
    return await anext(chunks, b"")


async def _chunks(work: Callable[[Emit], Awaitable[None]]) -> AsyncGenerator[bytes, None]:
    """Yield the events that some work emits, and a comment now and then while there is none."""
    events: asyncio.Queue[bytes | None] = asyncio.Queue()
    working = asyncio.ensure_future(work(lambda name, data: events.put_nowait(_event(name, data))))
    working.add_done_callback(lambda _: events.put_nowait(None))
    following = asyncio.ensure_future(events.get())
    try:
        while True:
            await asyncio.wait({following}, timeout=_KEEP_ALIVE_SECONDS)
            if not following.done():
                yield _KEEP_ALIVE
                continue
            event = following.result()
            if event is None:
                await working  # raises its error
                return
            yield event
            following = asyncio.ensure_future(events.get())
    finally:
        following.cancel()
        working.cancel()
        working.add_done_callback(lambda done: done.cancelled() or done.exception())


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + as_json(data) + b"\n\n"


def _error_event(error: Exception) -> bytes:
    """Return an error as the last event; its data are the body of the response that it would be otherwise."""
    response = error_response(error)
    if response is None:
        _LOG.error("a request failed", exc_info=error)
    return _event("error", _FAILED if response is None else json.loads(bytes(response.body)))
