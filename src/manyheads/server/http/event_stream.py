"""Responses of server-sent events, which end early when the client leaves."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
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
    events = _Events(work)
    try:
        return _EventStream(await unless_gone(request, events.next()), events)
    except BaseException:
        events.close()
        raise


class _EventStream(Response):
    """A response of events that are still to come.

    Args:
        first: The first event.
        events: The others.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, events: _Events) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come.

        Raises:
            ClientGoneError: the client is gone.
        """
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._send_events(scope, receive, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:
            raise ClientGoneError("the client closed the connection") from None
        finally:
            self._events.close()

    async def _send_events(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunk = self._first
        while chunk:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            try:
                chunk = await unless_gone(Request(scope, receive), self._events.next())
            except ClientGoneError:
                raise
            except Exception as error:
                facts_in(scope).error_type = error_type(error)
                await send({"type": "http.response.body", "body": _error_event(error), "more_body": True})
                return


class _Events:
    """The events that some work emits, as bytes.

    Args:
        work: Starts at once.
    """

    def __init__(self, work: Callable[[Emit], Awaitable[None]]) -> None:
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._working = asyncio.ensure_future(work(lambda name, data: self._events.put_nowait(_event(name, data))))
        self._working.add_done_callback(lambda _: self._events.put_nowait(None))
        self._following: asyncio.Future[bytes | None] | None = None

    async def next(self) -> bytes:
        """Return the next event, or a comment if there is none for a while; empty after the last one.

        Raises:
            Exception: the work failed.
        """
        self._following = self._following or asyncio.ensure_future(self._events.get())
        await asyncio.wait({self._following}, timeout=_KEEP_ALIVE_SECONDS)
        if not self._following.done():
            return _KEEP_ALIVE
        event, self._following = self._following.result(), None
        if event is None:
            await self._working
        return event or b""

    def close(self) -> None:
        """Cancel the work."""
        if self._following is not None:
            self._following.cancel()
        self._working.cancel()
        self._working.add_done_callback(lambda done: done.cancelled() or done.exception())


def _event(name: str, data: Mapping[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + as_json(data) + b"\n\n"


def _error_event(error: Exception) -> bytes:
    """Return an error as the last event; its data are the body of the response that it would be otherwise."""
    response = error_response(error)
    if response is None:
        _LOG.error("a request failed", exc_info=error)
    return _event("error", _FAILED if response is None else json.loads(bytes(response.body)))
