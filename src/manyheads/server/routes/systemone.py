"""``POST /v1/systemone`` and ``GET /v1/models``: typed questions with closed answers."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from fastapi import APIRouter, Request, Response

from manyheads.errors import listed
from manyheads.server.engine import Engine
from manyheads.server.http.body import read_json
from manyheads.server.http.errors import RequestError
from manyheads.server.http.facts import facts_of
from manyheads.server.http.gone import unless_gone
from manyheads.server.http.json_response import json_response
from manyheads.server.http.schema import ANSWERING, json_body, responses_of
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings
from manyheads.server.systemone.asking import Answered, Asker
from manyheads.server.systemone.questions import SystemOneBody, check_body
from manyheads.server.systemone.zero_shot import ZeroShotHeads
from manyheads.server.wire.systemone import Models, SystemOneAnswer

# The name that clients send by default.
DEFAULT_NAME = "jev-latest"


def systemone_routes(serving: Serving, engine: Engine, settings: ServerSettings) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["decisions"])
    responses = responses_of(SystemOneAnswer, (*ANSWERING, 404))
    asker = Asker(serving, engine, settings, ZeroShotHeads())

    @router.post("/v1/systemone", openapi_extra=json_body(SystemOneBody), responses=responses)
    async def systemone(request: Request) -> Response:
        """Answer typed questions about a state.

        A question whose id is the name of a head is answered by the head, all of them in one pass of the backbone.
        Other questions are answered by the language model.
        """
        body = await read_json(request, SystemOneBody, settings)
        check_body(body, settings)
        _check_name(body.model, serving.current)
        served, answered = await unless_gone(request, asker.answer(body))
        facts_of(request).answered(served.fingerprint, 1)
        return json_response(_response(served, answered))

    @router.get("/v1/models", responses=responses_of(Models, (401, 500)))
    async def models() -> Response:
        """Return the names that requests may give for the model."""
        return json_response({"models": [_model(name, serving.current) for name in _names(serving.current)]})

    return router


def _names(served: Served) -> list[str]:
    return [DEFAULT_NAME, served.name, served.fingerprint]


def _check_name(name: str, served: Served) -> None:
    if name not in _names(served):
        message = f"There is no such model; give one of {listed(_names(served))}"
        raise RequestError(404, "model_not_found", message)


def _model(name: str, served: Served) -> dict[str, str]:
    core = served.core
    parts = [f"heads {listed(core.heads)}"] if core.heads else []
    parts += ["a language model"] if core.backbone.generates else []
    loaded = datetime.fromtimestamp(served.since, timezone.utc)
    return {
        "name": name,
        "description": f"{core.backbone.name} with {' and '.join(parts)}",
        "release_date": loaded.date().isoformat(),
    }


def _response(served: Served, answered: Answered) -> dict[str, Any]:
    return {
        "model": served.name,
        "answers": answered.answers,
        "usage": {"input_tokens": answered.tokens, "output_tokens": 0},
        "x_fingerprint": served.fingerprint,
    }
