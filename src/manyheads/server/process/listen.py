"""Answer requests at an address until the process shall stop: the application, run by granian."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from granian.http import HTTP1Settings
from granian.server.embed import Server

from manyheads.errors import ConfigError, one_line
from manyheads.server.process.address import Address
from manyheads.server.process.launch import Launch
from manyheads.server.process.stopping import Stopping

# Connections at once, below the usual limit of 1,024 open files; further ones wait in the system's queue.
_CONNECTIONS, _BACKLOG = 900, 1024
# granian's handlers write plain lines on standard output, and its errors quote those of the application, which the
# application logs itself.
_GRANIAN_LOG: dict[str, Any] = {"handlers": {}, "formatters": {}, "loggers": {}}
_RETRY_SECONDS = 0.02


async def listen(app: FastAPI, launch: Launch, stopping: Stopping, listening: Callable[[], None]) -> None:
    """Answer requests until the process shall stop, and then those in flight.

    Args:
        app: The application.
        launch: Where to listen, and for how long to a slow client.
        stopping: Whether the process shall stop.
        listening: Called when the address answers.

    Raises:
        ConfigError: the address was taken since it was checked.
    """
    server = _server(app, launch)
    running = asyncio.ensure_future(server.serve())
    try:
        await _until_connected(running, launch.address)
        listening()
        stop = asyncio.ensure_future(stopping.begun())
        await asyncio.wait({stop, running}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        server.stop()
        await running
    except RuntimeError as error:  # granian's, with a stack trace in its message
        raise ConfigError(
            f"{launch.address.url}: the server cannot run there: {one_line(error).split(' Stack')[0]}"
        ) from None


def _server(app: FastAPI, launch: Launch) -> Any:
    """Return granian's server.

    Only HTTP/1: where HTTP/2 is allowed, a connection that never sends a whole first line is never closed.
    """
    return Server(
        app,
        address=launch.address.ip,
        port=launch.address.port,
        interface="asgi",
        http="1",
        http1_settings=HTTP1Settings(header_read_timeout=round(1000 * launch.settings.header_seconds)),
        websockets=False,
        backlog=_BACKLOG,
        backpressure=_CONNECTIONS,
        log_enabled=False,
        log_dictconfig=_GRANIAN_LOG,
    )


async def _until_connected(running: asyncio.Future[None], address: Address) -> None:
    while not running.done():
        try:
            _, writer = await asyncio.open_connection(address.ip, address.port)
        except OSError:
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        writer.close()
        return
    running.result()
