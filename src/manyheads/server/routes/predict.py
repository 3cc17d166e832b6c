"""``POST /predict``: texts in, the answers of all heads out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from manyheads.data.texts.texts import Texts
from manyheads.errors import ManyheadsError, listed
from manyheads.server.engine import AnsweredTexts, Engine, PredictWork
from manyheads.server.http.body import read_json
from manyheads.server.http.checks import check_heads, read_texts
from manyheads.server.http.errors import invalid, row_problem, unanswered
from manyheads.server.http.facts import facts_of
from manyheads.server.http.gone import unless_gone
from manyheads.server.http.json_response import json_response
from manyheads.server.http.schema import json_body, responses_of
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings
from manyheads.server.wire.answers import answer_of
from manyheads.server.wire.predict import PredictAnswer, PredictBody


def predict_routes(serving: Serving, engine: Engine, settings: ServerSettings) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["heads"])

    @router.post("/predict", openapi_extra=json_body(PredictBody), responses=responses_of(PredictAnswer))
    async def predict(request: Request) -> Response:
        """Predict texts with all heads, in one pass of the backbone.

        ``predictions`` has, for each text, the answer of each head by its name; or ``error``, where a text cannot be
        answered. If none can, the status is 422.
        """
        body = await read_json(request, PredictBody, settings)
        field, items = _given(body)
        texts = read_texts(items, settings, [field])
        heads = check_heads(serving.current.core, body.heads, ["heads"])
        work = PredictWork(texts, heads, _long_text(body))
        served, answers = await unless_gone(request, engine.answer(work))
        failed = sum(isinstance(answer, ManyheadsError) for answer in answers)
        facts_of(request).answered(served.fingerprint, len(answers), failed)
        return json_response(predictions_of(served, answers, texts, field, body.top_k))

    return router


def predictions_of(
    served: Served, answers: AnsweredTexts, texts: Texts, field: str, top_k: int | None
) -> dict[str, Any]:
    """Return the answers to some texts as JSON.

    Raises:
        InvalidBodyError: no text can be answered.
    """
    errors = [answer for answer in answers if isinstance(answer, ManyheadsError)]
    if errors and len(errors) == len(answers):
        raise unanswered(errors, [_place(field, row) for row in range(len(errors))])
    predictions: list[dict[str, Any]] = []
    flags: list[str | None] = []
    for row, (answer, text) in enumerate(zip(answers, texts.texts, strict=True)):
        if isinstance(answer, ManyheadsError):
            predictions.append({"error": row_problem(answer, ["body", *_place(field, row)])})
            flags.append(None)
            continue
        predictions.append(
            {
                name: answer_of(served.core.heads[name].spec, prediction, text, top_k)
                for name, prediction in answer.predictions.items()
            }
        )
        flags.append(answer.flag)
    return {"predictions": predictions, "flags": flags, "fingerprint": served.fingerprint}


def _place(field: str, row: int) -> list[str | int]:
    """Return where in the body a text is; ``text`` is no list."""
    return [field] if field == "text" else [field, row]


def _given(body: PredictBody) -> tuple[str, Sequence[object]]:
    """Return the name of the field with the texts, and the texts."""
    fields = ("text", "texts", "pairs", "words")
    given = [name for name in fields if getattr(body, name) is not None]
    if len(given) != 1:
        raise invalid([], f"give one of {listed(fields)}", "missing")
    value = getattr(body, given[0])
    return given[0], [value] if isinstance(value, str) else value


def _long_text(body: PredictBody) -> str:
    if body.long_text is not None:
        if body.truncate is not None:
            raise invalid(["truncate"], "give 'truncate' or 'long_text', not both", "value_error")
        return body.long_text
    return "error" if body.truncate is False else "truncate"
