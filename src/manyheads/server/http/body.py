"""Read the body of a request, within limits of size and time."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from manyheads.server.http.errors import RequestError, invalid_fields
from manyheads.server.settings import ServerSettings

Body = TypeVar("Body", bound=BaseModel)


async def read_json(request: Request, body: type[Body], settings: ServerSettings) -> Body:
    """Read a body and check it.

    Raises:
        RequestError: too large, or too slow.
        InvalidBodyError: not valid.
    """
    content = await read_bytes(request, settings)
    try:
        return body.model_validate_json(content)
    except ValidationError as error:
        raise invalid_fields(error) from None


async def read_bytes(request: Request, settings: ServerSettings) -> bytes:
    """Read a body.

    Raises:
        RequestError: too large, or too slow.
    """
    given = request.headers.get("content-length", "")
    if given.isdecimal() and int(given) > settings.max_body_bytes:
        raise _too_large(settings)
    try:
        return await asyncio.wait_for(_within(request, settings), settings.body_seconds)
    except asyncio.TimeoutError:
        message = f"The body did not arrive within {settings.body_seconds:g} s"
        raise RequestError(408, "slow_body", message, {"connection": "close"}) from None


async def _within(request: Request, settings: ServerSettings) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > settings.max_body_bytes:
            raise _too_large(settings)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(settings: ServerSettings) -> RequestError:
    message = f"The body has more than {settings.max_body_bytes:,} bytes; send fewer texts at a time"
    return RequestError(413, "too_large", message, {"connection": "close"})
