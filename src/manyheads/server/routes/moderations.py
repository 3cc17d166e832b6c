"""``POST /v1/moderations``: the labels of a multi-label head, in the shape of OpenAI's moderations."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from manyheads.core import HeadedCore
from manyheads.errors import ManyheadsError, listed
from manyheads.heads.kinds.multilabel import MultiLabel
from manyheads.server.engine import AnsweredTexts, Engine, PredictWork
from manyheads.server.http.body import read_json
from manyheads.server.http.checks import read_texts
from manyheads.server.http.errors import invalid, unanswered
from manyheads.server.http.facts import facts_of
from manyheads.server.http.gone import unless_gone
from manyheads.server.http.json_response import json_response
from manyheads.server.http.schema import json_body, responses_of
from manyheads.server.served import Serving
from manyheads.server.settings import ServerSettings
from manyheads.server.wire.moderations import Moderations, ModerationsBody, moderations_of
from manyheads.types import Prediction


def moderations_routes(serving: Serving, engine: Engine, settings: ServerSettings) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["decisions"])

    @router.post("/v1/moderations", openapi_extra=json_body(ModerationsBody), responses=responses_of(Moderations))
    async def moderations(request: Request) -> Response:
        """Return, for each text, which labels of a multi-label head reach their thresholds, and all scores."""
        body = await read_json(request, ModerationsBody, settings)
        head = _chosen(serving.current.core, body.model)
        items = [body.input] if isinstance(body.input, str) else body.input
        work = PredictWork(read_texts(items, settings, ["input"]), (head,))
        served, answers = await unless_gone(request, engine.answer(work))
        facts_of(request).answered(served.fingerprint, len(answers))
        return json_response(moderations_of(head, _all_predictions(answers, head), served.fingerprint))

    return router


def _chosen(core: HeadedCore, name: str | None) -> str:
    """Return the name of the multi-label head to ask."""
    known = [head for head, module in core.heads.items() if isinstance(module.spec, MultiLabel)]
    if not known:
        raise invalid(["model"], "this model has no head with several labels per text", "no_head")
    if name is None and len(known) > 1:
        raise invalid(["model"], f"name one of the heads {listed(known)}", "missing")
    if name is not None and name not in known:
        raise invalid(["model"], f"is no head with several labels per text; the heads: {listed(known)}", "unknown_head")
    return known[0] if name is None else name


def _all_predictions(answers: AnsweredTexts, head: str) -> list[Prediction]:
    """Return one prediction per text.

    Raises:
        InvalidBodyError: a text that cannot be answered; the results would not match the texts.
    """
    errors = {row: answer for row, answer in enumerate(answers) if isinstance(answer, ManyheadsError)}
    if errors:
        raise unanswered(list(errors.values()), [["input", row] for row in errors])
    return [answer.predictions[head] for answer in answers if not isinstance(answer, ManyheadsError)]
