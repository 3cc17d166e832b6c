"""The layer around all others: request ids, one line in the log and one count in the metrics for each request."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from manyheads.server.http.facts import RequestFacts, begin_facts
from manyheads.server.metrics.metrics import Metrics

_LOG = logging.getLogger("manyheads.server.requests")
# Requests to no route share one name: their paths are without number, and may contain anything.
_NO_ROUTE = "none"


class Observed:
    """Gives each request an id, and writes one line and one count for it.

    A line has no text, no path, no key and no address: only the route, and numbers.

    Args:
        app: The application.
        metrics: What counts.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        facts, started = begin_facts(scope), time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                facts.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *facts.headers]}
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except BaseException as error:
            facts.error_type = facts.error_type or type(error).__name__
            raise
        finally:
            self._note(scope, facts, time.perf_counter() - started)

    def _note(self, scope: Scope, facts: RequestFacts, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", _NO_ROUTE)
        status = 500 if facts.status is None else facts.status
        self._metrics.request(route, status, facts, seconds)
        _LOG.log(
            logging.ERROR if status >= 500 else logging.INFO,
            "request",
            extra={
                "fields": {
                    "request_id": facts.request_id,
                    "method": scope["method"] if scope["method"] in _METHODS else "other",
                    "route": route,
                    "status": status,
                    "milliseconds": round(1000 * seconds, 1),
                    "rows": facts.rows,
                    "failed_rows": facts.failed_rows,
                    "error_type": facts.error_type,
                    "fingerprint": facts.fingerprint,
                }
            },
        )


_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
