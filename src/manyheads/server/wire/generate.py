"""The bodies of ``POST /generate``: texts in, their continuations and the answers of heads out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.inference.flags import flags_of
from manyheads.inference.generation_events import Event, FinishReason, GenerationEnd, TextPiece
from manyheads.inference.predictions import Predictions
from manyheads.server.served import Served
from manyheads.server.wire.answers import answer_of
from manyheads.server.wire.predict import HeadAnswer
from manyheads.server.wire.several import Several

_StopString = Annotated[str, Field(min_length=1, max_length=256)]


class GenerateBody(BaseModel):
    """Texts to continue. One of ``text`` and ``texts`` is given.

    Options that are not given are those of the model's generation config.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    text: str | None = Field(None, description="One text.")
    texts: Several[str] | None = Field(None, description="Texts; they are one batch.")
    heads: Several[str] | None = Field(None, description="Names of heads; all by default, none for [].")
    max_new_tokens: int | None = Field(None, ge=1, le=1 << 20, description="Most tokens of each text; 128 by default.")
    do_sample: bool | None = Field(None, description="Whether to draw tokens instead of taking the most probable.")
    # Smaller or larger numbers make logits infinite.
    temperature: float | None = Field(None, ge=0.01, le=100, description="Divides the logits when sampling.")
    top_p: float | None = Field(None, gt=0, le=1, description="Sample among the tokens that reach this probability.")
    top_k: int | None = Field(None, ge=1, le=1 << 20, description="Sample among this many tokens.")
    repetition_penalty: float | None = Field(None, ge=0.1, le=10, description="Above 1, repeated tokens are rarer.")
    num_beams: int | None = Field(None, ge=1, le=1 << 10, description="Beams; text then arrives at the end.")
    stop: Annotated[list[_StopString], Field(max_length=8)] | None = Field(
        None, description="A text ends before the first of these strings."
    )
    seed: int | None = Field(None, ge=0, lt=1 << 63, description="The same seed gives the same text.")
    stream: bool = Field(False, description="Whether to send server-sent events.")


# The schema of each event of a stream; ``data`` is JSON.
SERVER_SENT_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["predictions", "text", "end", "error"]},
        "data": {"type": "string"},
    },
    "required": ["event", "data"],
}


class Usage(BaseModel):
    """Numbers of tokens, of all texts together."""

    model_config = ConfigDict(extra="forbid")

    input_tokens: int
    output_tokens: int


class GenerateAnswer(BaseModel):
    """The continuations of all texts, and the answers of all heads to the texts."""

    model_config = ConfigDict(extra="forbid")

    texts: list[str] = Field(description="For each text, what follows it.")
    predictions: list[dict[str, HeadAnswer]] = Field(description="For each text, head name -> answer.")
    flags: list[Literal["empty", "truncated", "split"] | None] = Field(description="What is unusual about each text.")
    usage: Usage
    finish: list[FinishReason] = Field(
        description="Why each continuation ends: an end token, a stop string, the most tokens, or a limit of the model."
    )
    fingerprint: str = Field(description="Identifies the model that answered.")


def predictions_of(served: Served, predictions: Predictions) -> dict[str, Any]:
    """Return the heads' answers to the texts of a generation."""
    rows = [
        {name: answer_of(served.core.heads[name].spec, found, None) for name, found in row.items()}
        for row in predictions
    ]
    return {"predictions": rows, "flags": flags_of(predictions), "fingerprint": served.fingerprint}


def end_of(end: GenerationEnd) -> dict[str, Any]:
    """Return how a generation ended."""
    usage = {"input_tokens": sum(end.input_tokens), "output_tokens": sum(end.output_tokens)}
    return {"finish": list(end.reasons), "usage": usage}


def named_event(served: Served, event: Event) -> tuple[str, Mapping[str, Any]]:
    """Return the name and the data of a server-sent event."""
    if isinstance(event, Predictions):
        return "predictions", predictions_of(served, event)
    if isinstance(event, TextPiece):
        return "text", {"index": event.prompt, "text": event.text}
    return "end", end_of(event)
