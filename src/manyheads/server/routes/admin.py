"""``POST /admin/reload``."""

from __future__ import annotations

from ipaddress import ip_address

from fastapi import APIRouter, Request, Response

from manyheads.server.http.errors import RequestError
from manyheads.server.http.json_response import json_response
from manyheads.server.http.schema import responses_of
from manyheads.server.settings import ServerSettings
from manyheads.server.wire.reload import Reloaded
from manyheads.server.workers import Workers

# Headers of requests that a proxy passes on, or that a browser sends for a page from elsewhere.
_FROM_ELSEWHERE = ("forwarded", "x-forwarded-for", "via", "origin")


def admin_routes(workers: Workers, settings: ServerSettings) -> APIRouter:
    """Return the route. Without a key, only programs on this machine may use it."""
    router = APIRouter(tags=["operation"])

    @router.post("/admin/reload", responses=responses_of(Reloaded, (401, 403, 409, 500)))
    async def reload(request: Request) -> Response:
        """Load the saved model again in all workers, without dropping a request, and return its fingerprint.

        A model that cannot be loaded leaves the old one in place: status 409 with the reason.
        """
        if settings.api_key is None and not _is_local(request):
            message = "Start the server with a key (--api-key-env NAME), or send SIGHUP to its process"
            raise RequestError(403, "forbidden", message)
        outcome = await workers.reload()
        if outcome.error_type is None:
            return json_response({"fingerprint": outcome.fingerprint})
        message = f"The old model goes on answering: {outcome.reason}"
        raise RequestError(409 if outcome.expected else 500, "reload_failed", message)

    return router


def _is_local(request: Request) -> bool:
    if request.client is None or any(name in request.headers for name in _FROM_ELSEWHERE):
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False
