"""``create_app``: a model as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from os import PathLike

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from manyheads._version import VERSION
from manyheads.model import HeadedModel
from manyheads.server.engine import Engine, Generations
from manyheads.server.http.admission import Admission
from manyheads.server.http.boundary import Boundary
from manyheads.server.http.errors import answer_http_error
from manyheads.server.http.held import HeldBodies
from manyheads.server.http.observed import Observed
from manyheads.server.http.schema import add_components
from manyheads.server.metrics.metrics import Metrics
from manyheads.server.routes.admin import admin_routes
from manyheads.server.routes.generate import generate_routes
from manyheads.server.routes.health import health_routes, info_routes
from manyheads.server.routes.metrics import metrics_routes
from manyheads.server.routes.moderations import moderations_routes
from manyheads.server.routes.page import page_routes
from manyheads.server.routes.predict import predict_routes
from manyheads.server.routes.systemone import systemone_routes
from manyheads.server.routes.table import table_routes
from manyheads.server.saved import SavedModel
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings
from manyheads.server.workers import Alone, Workers


def create_app(model: HeadedModel | str | PathLike[str], settings: ServerSettings | None = None) -> FastAPI:
    """Return an ASGI application that answers requests with a model's heads and its language model.

    ``manyheads serve`` runs it with limits on slow clients, which other ASGI servers may lack.

    Args:
        model: The model, or the folder or hub id of a saved one, which can then be reloaded.
        settings: What the server allows; the defaults by default.

    Raises:
        BackboneError: the model has no tokenizer, or cannot be loaded.
        HeadError: it has neither heads nor a language model.

    Examples:
        >>> app = mh.server.create_app(trained)
        >>> sorted(path for path in app.openapi()["paths"] if path.startswith("/p"))
        ['/predict', '/predict/table']
    """
    settings = ServerSettings() if settings is None else settings
    here = ThisProcess.of(_serving(model), settings)
    return app_of(here, settings, here.workers)


@dataclass(frozen=True)
class ThisProcess:
    """What a process answers requests with.

    Attributes:
        serving: Its model.
        engine: What computes.
        metrics: What counts.
    """

    serving: Serving
    engine: Engine
    metrics: Metrics

    @staticmethod
    def of(serving: Serving, settings: ServerSettings) -> ThisProcess:
        """Return the parts around a model."""
        metrics = Metrics()
        metrics.watch_model(lambda: serving.current)
        return ThisProcess(serving, Engine(serving, settings, metrics), metrics)

    @property
    def workers(self) -> Alone:
        """This process as the only one."""
        return Alone(self.serving, self.engine, self.metrics)


def app_of(here: ThisProcess, settings: ServerSettings, workers: Workers) -> FastAPI:
    """Return the application of one process.

    Args:
        here: What it answers with.
        settings: What it allows.
        workers: All processes, this one included.
    """
    serving, engine, metrics = here.serving, here.engine, here.metrics
    generations = Generations(serving, engine.turns, settings, metrics)

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        generations.start()
        yield
        await asyncio.to_thread(generations.stop)
        await asyncio.to_thread(engine.stop)

    app = FastAPI(title="manyheads", version=VERSION, docs_url=None, redoc_url=None, lifespan=running)
    app.include_router(health_routes())
    app.include_router(info_routes(serving, engine))
    app.include_router(predict_routes(serving, engine, settings))
    app.include_router(systemone_routes(serving, engine, settings))
    app.include_router(moderations_routes(serving, engine, settings))
    app.include_router(generate_routes(serving, generations, settings))
    app.include_router(table_routes(serving, engine, settings))
    app.include_router(page_routes())
    app.include_router(metrics_routes(workers))
    app.include_router(admin_routes(workers, settings))
    add_components(app)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_middleware(HeldBodies, settings=settings)
    app.add_middleware(Admission, most=settings.max_waiting, seconds_to_room=engine.queue.seconds_to_room)
    app.add_middleware(Boundary, settings=settings)
    app.add_middleware(Observed, metrics=metrics)
    return app


def _serving(model: HeadedModel | str | PathLike[str]) -> Serving:
    if isinstance(model, HeadedModel):
        return Serving(Served.of(model.core, model.tokenizer))
    return Serving.opened(SavedModel(str(model)))
