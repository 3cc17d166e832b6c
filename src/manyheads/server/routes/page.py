"""``GET /``: the page to try the model in a browser."""

from __future__ import annotations

from fastapi import APIRouter, Response

from manyheads.server.page import read_page


def page_routes() -> APIRouter:
    """Return the route."""
    router = APIRouter()
    page = read_page()

    @router.get("/", include_in_schema=False)
    async def show() -> Response:
        """Return the page."""
        return Response(page.html, headers=page.headers, media_type="text/html")

    return router
