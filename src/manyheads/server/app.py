"""``create_app``: a model as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from os import PathLike

from fastapi import FastAPI

from manyheads._version import VERSION
from manyheads.checkpoint.open_model import open_model
from manyheads.model import HeadedModel
from manyheads.server.engine import Engine
from manyheads.server.http.boundary import Boundary
from manyheads.server.routes.health import health_routes, info_routes
from manyheads.server.routes.page import page_routes
from manyheads.server.routes.predict import predict_routes
from manyheads.server.routes.table import table_routes
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings


def create_app(model: HeadedModel | str | PathLike[str], settings: ServerSettings | None = None) -> FastAPI:
    """Return an ASGI application that answers requests with a model's heads and its language model.

    Args:
        model: The model, or the folder or hub id of a saved one, which can then be reloaded.
        settings: What the server allows; the defaults by default.

    Raises:
        BackboneError: the model has no tokenizer, or cannot be loaded.
        HeadError: it has neither heads nor a language model.

    Examples:
        >>> from manyheads.server import create_app
        >>> app = create_app(trained)
        >>> sorted(path for path in app.openapi()["paths"] if path.startswith("/p"))
        ['/predict', '/predict/table']
    """
    settings = ServerSettings() if settings is None else settings
    serving = _serving(model)
    engine = Engine(serving, settings)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        yield
        engine.stop()

    app = FastAPI(title="manyheads", version=VERSION, docs_url=None, redoc_url=None, lifespan=running)
    app.include_router(health_routes())
    app.include_router(info_routes(serving, engine))
    app.include_router(predict_routes(serving, engine, settings))
    app.include_router(table_routes(serving, engine, settings))
    app.include_router(page_routes())
    app.add_middleware(Boundary, settings=settings)
    return app


def _serving(model: HeadedModel | str | PathLike[str]) -> Serving:
    if isinstance(model, HeadedModel):
        return Serving(Served.of(model.core, model.tokenizer))
    return Serving(Served.of(*open_model(str(model))), lambda: open_model(str(model)))
