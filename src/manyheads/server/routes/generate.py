"""``POST /generate``: texts in, their continuations and the answers of all heads out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.errors import listed
from manyheads.inference.generation_events import Event, TextPiece
from manyheads.inference.predictions import Predictions
from manyheads.server.engine import GenerateWork, Generations
from manyheads.server.http.body import read_json
from manyheads.server.http.checks import check_heads, read_texts
from manyheads.server.http.errors import invalid
from manyheads.server.http.event_stream import Emit, event_stream
from manyheads.server.http.facts import facts_of
from manyheads.server.http.gone import unless_gone
from manyheads.server.http.json_response import json_response
from manyheads.server.http.schema import json_body, responses_of
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings
from manyheads.server.wire.generate import (
    SERVER_SENT_EVENT,
    GenerateAnswer,
    GenerateBody,
    end_of,
    named_event,
    predictions_of,
)

_NEW_TOKENS = 128
# Options of ``generate`` that a body may have.
_OPTIONS = ("do_sample", "temperature", "top_p", "top_k", "repetition_penalty", "num_beams")
_OF_SAMPLING = ("temperature", "top_p", "top_k")

Receive = Callable[[Served, Event], None]


def generate_routes(serving: Serving, generations: Generations, settings: ServerSettings) -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["language model"])
    responses = responses_of(GenerateAnswer)
    responses[200]["content"] = {"text/event-stream": {"schema": SERVER_SENT_EVENT}}

    @router.post("/generate", openapi_extra=json_body(GenerateBody), responses=responses)
    async def generate(request: Request) -> Response:
        """Continue texts, and predict them with all heads, which read what the language model computes of them.

        With ``stream``, the response is server-sent events: ``predictions`` (the heads' answers), then ``text`` (the
        ``index`` of a text and the next piece of its continuation), then ``end`` (``finish`` and ``usage``). An
        ``error`` event ends the stream early.
        """
        body = await read_json(request, GenerateBody, settings)
        core = serving.current.core
        work_for = _work_of(body, core, settings)
        if body.stream:
            return await event_stream(request, lambda emit: generations.generate(work_for(_emitting(request, emit))))
        result = _Result()
        await unless_gone(request, generations.generate(work_for(result.receive)))
        facts_of(request).answered(result.answer["fingerprint"], len(result.texts))
        return json_response({"texts": ["".join(pieces) for pieces in result.texts], **result.answer})

    return router


class _Result:
    """The events of a generation as one answer.

    Attributes:
        texts: For each text, the pieces of what follows it.
        answer: All else.
    """

    def __init__(self) -> None:
        self.texts: list[list[str]] = []
        self.answer: dict[str, Any] = {}

    def receive(self, served: Served, event: Event) -> None:
        """Take an event."""
        if isinstance(event, Predictions):
            self.texts = [[] for _ in event]
            self.answer |= predictions_of(served, event)
        elif isinstance(event, TextPiece):
            self.texts[event.prompt].append(event.text)
        else:
            self.answer |= end_of(event)


def _emitting(request: Request, emit: Emit) -> Receive:
    """Return a function that emits the events of a generation."""
    facts = facts_of(request)

    def receive(served: Served, event: Event) -> None:
        if isinstance(event, Predictions):  # before the response begins, whose headers name the model
            facts.answered(served.fingerprint, len(event))
        emit(*named_event(served, event))

    return receive


def _work_of(body: GenerateBody, core: HeadedCore, settings: ServerSettings) -> Callable[[Receive], GenerateWork]:
    """Return a function that makes the work of a request.

    Raises:
        InvalidBodyError: the model cannot do it, or it is more than is allowed.
    """
    if not core.backbone.generates:
        known = f"ask its heads {listed(core.heads)} with POST /predict"
        raise invalid([], f"this model has no language model; {known}", "no_language_model")
    texts = _texts(body, settings)
    heads = () if _names_none(body, core) else check_heads(core, body.heads, ["heads"])
    options = _options(body, core.backbone.model.generation_config, settings)
    beams = options.get("num_beams") or getattr(core.backbone.model.generation_config, "num_beams", None) or 1
    if len(texts) * beams > settings.max_sequences:
        message = f"{len(texts)} texts x {beams} beams are too many, at most {settings.max_sequences} are allowed"
        raise invalid([], message, "too_long")
    given = {} if body.seed is None else {"seed": body.seed}
    stop = tuple(body.stop or ())
    return lambda receive: GenerateWork(texts, heads, options, stop, receive, **given)


def _names_none(body: GenerateBody, core: HeadedCore) -> bool:
    return not (core.heads if body.heads is None else body.heads)


def _texts(body: GenerateBody, settings: ServerSettings) -> Texts:
    if (body.text is None) == (body.texts is None):
        raise invalid([], "give one of 'text' and 'texts'", "missing")
    if body.text is not None:
        return read_texts([body.text], settings, ["text"])
    if not body.texts:
        raise invalid(["texts"], "has no text", "too_short")
    return read_texts(body.texts, settings, ["texts"])


def _options(body: GenerateBody, config: Any, settings: ServerSettings) -> dict[str, Any]:
    """Return the options of ``generate``.

    Raises:
        InvalidBodyError: too many tokens, or an option without effect.
    """
    options = {name: value for name in _OPTIONS if (value := getattr(body, name)) is not None}
    samples = options.get("do_sample", getattr(config, "do_sample", False))
    for name in _OF_SAMPLING:
        if name in options and not samples:
            raise invalid([name], "has an effect with 'do_sample': true only", "value_error")
    new = min(_NEW_TOKENS, settings.max_new_tokens) if body.max_new_tokens is None else body.max_new_tokens
    if new > settings.max_new_tokens:
        raise invalid(["max_new_tokens"], f"is {new:,}, at most {settings.max_new_tokens:,} are allowed", "too_long")
    return {**options, "max_new_tokens": new, "num_return_sequences": 1}
