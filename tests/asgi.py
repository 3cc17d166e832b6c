"""Ask an ASGI application in the same event loop, as many requests at once as a test needs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Response:
    """What an application sent; a request whose client left has no status."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Return the body's value."""
        return json.loads(self.body)


@dataclass
class Client:
    """A client of an application. Setting ``leaves`` closes the connection of its requests."""

    app: Any
    leaves: asyncio.Event = field(default_factory=asyncio.Event)

    async def post(self, path: str, chunks: bytes | Sequence[bytes]) -> Response:
        """Send JSON in chunks, and return the response."""
        return await self.request("POST", path, chunks, [(b"content-type", b"application/json")])

    async def request(
        self, method: str, path: str, chunks: bytes | Sequence[bytes], headers: Sequence[tuple[bytes, bytes]]
    ) -> Response:
        """Send a request with a body in chunks, and return the response."""
        waiting = [chunks] if isinstance(chunks, bytes) else list(chunks)
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": list(headers),
            "server": ("test", 80),
            "client": ("test", 1),
        }
        response = Response()

        async def receive() -> dict[str, Any]:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}
            await self.leaves.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                response.status = message["status"]
                response.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                response.body += message.get("body", b"")

        await self.app(scope, receive, send)
        return response

    async def predict(self, **body: Any) -> Response:
        """Ask ``POST /predict``."""
        return await self.post("/predict", json.dumps(body).encode())


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[Client]:
    """Run an application's start and end around the block."""
    async with app.router.lifespan_context(app):
        yield Client(app)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition."""

    async def polling() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(polling(), seconds)
