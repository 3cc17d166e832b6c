"""Bound the memory that the bodies of all requests take together."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manyheads.server.http.errors import RequestError
from manyheads.server.settings import ServerSettings


class HeldBodies:
    """Answers a request with status 429 if its body would be too much beside those of the others.

    A body counts until its request is answered, for the texts in it live as long.

    Args:
        app: The application.
        settings: How many bytes are held at most.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._most = settings.max_held_bytes
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        own = 0

        async def counting() -> Message:
            nonlocal own
            message = await receive()
            size = len(message.get("body", b""))
            own += size
            self._held += size
            # A body that is alone is bounded by its own limit.
            if own < self._held > self._most and size:
                raise RequestError(429, "overloaded", "The server holds too many bodies; retry", {"retry-after": "1"})
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            self._held -= own
