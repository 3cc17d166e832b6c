"""``GET /metrics``."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from manyheads.server.http.schema import text_responses
from manyheads.server.metrics.exposition import exposition
from manyheads.server.workers import Workers


def metrics_routes(workers: Workers) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["operation"])

    @router.get("/metrics", response_class=Response, responses=text_responses((401, 500)))
    async def metrics(request: Request) -> Response:
        """Return the counts of all workers in Prometheus' format."""
        content, content_type = exposition(await workers.metrics(), request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    return router
