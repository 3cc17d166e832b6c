"""``/health/live``, ``/health/ready`` and ``/info``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from manyheads.server.engine import Engine
from manyheads.server.http.json_response import json_response
from manyheads.server.http.schema import responses_of
from manyheads.server.served import Serving
from manyheads.server.wire.health import Health
from manyheads.server.wire.info import Info, info_of


def health_routes() -> APIRouter:
    """Return the routes that need no key."""
    router = APIRouter(tags=["health"])

    @router.get("/health/live", responses=responses_of(Health, ()))
    async def live() -> Response:
        """Return 200 while the process runs."""
        return json_response({"status": "live"})

    @router.get("/health/ready", responses=responses_of(Health, ()))
    async def ready() -> Response:
        """Return 200 once requests are answered: the model is loaded before the server listens."""
        return json_response({"status": "ready"})

    return router


def info_routes(serving: Serving, engine: Engine) -> APIRouter:
    """Return the route that describes the model."""
    router = APIRouter(tags=["model"])

    @router.get("/info", responses=responses_of(Info, (401, 500)))
    async def info() -> Response:
        """Return what is served: heads, labels, what each reads, and the model's fingerprint."""
        return json_response(info_of(serving.current, len(engine.queue)))

    return router
