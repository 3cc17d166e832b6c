"""The layer around the routes: keys, and errors as responses."""

from __future__ import annotations

import hmac
import logging
from contextlib import suppress

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manyheads.server.http.errors import RequestError, error_response, error_type
from manyheads.server.http.facts import facts_in
from manyheads.server.http.gone import ClientGoneError
from manyheads.server.http.json_response import json_response
from manyheads.server.settings import ServerSettings

_LOG = logging.getLogger("manyheads.server")
# As other servers log it; nothing is sent.
_CLIENT_GONE = 499
# Needed by load balancers, which have no key; the page asks for one.
_OPEN_PATHS = frozenset({"/", "/health/live", "/health/ready"})


class Boundary:
    """Checks keys, and turns errors into responses.

    Args:
        app: The application.
        settings: The key.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._key = settings.api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            self._check_key(Request(scope))
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            # Most are gone, but one that sent a broken chunk still listens: granian would answer it with status 500.
            with suppress(Exception):
                await _answer_incomplete(scope, receive, send)
            _note_gone(scope)
        except ClientGoneError:
            _note_gone(scope)
        except Exception as error:
            facts_in(scope).error_type = error_type(error)
            response = error_response(error)
            if response is None:
                _LOG.exception("a request failed")
                response = json_response({"detail": {"error_type": "internal_error", "message": "See the log"}}, 500)
            if has_begun:
                raise
            await response(scope, receive, send)

    def _check_key(self, request: Request) -> None:
        if self._key is None or request.url.path in _OPEN_PATHS:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # Starlette reads headers as Latin-1; the bytes that were sent are compared.
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode("latin-1"), self._key.encode()):
            message = "Send the key as the header 'Authorization: Bearer KEY'"
            raise RequestError(401, "authentication_error", message, {"www-authenticate": "Bearer"})


def _note_gone(scope: Scope) -> None:
    facts = facts_in(scope)
    facts.status, facts.error_type = _CLIENT_GONE, "client_gone"


async def _answer_incomplete(scope: Scope, receive: Receive, send: Send) -> None:
    message = "The body ended before it was complete, or is not encoded as its headers claim; send it again"
    response = error_response(RequestError(400, "incomplete_body", message, {"connection": "close"}))
    assert response is not None
    await response(scope, receive, send)
