"""The answer of ``GET /info``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from manyheads._version import VERSION
from manyheads.backbone.limits import token_limit
from manyheads.heads import Head
from manyheads.server.served import Served
from manyheads.server.wire.predict import Label


class HeadInfo(BaseModel):
    """What a head is."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    labels: list[Label]
    reads: list[str] = Field(description="The taps that it reads.")
    text: str | list[str] | None = Field(description="The columns of texts that it was trained on.")
    decision: dict[str, Any] = Field(description="The settings of its decision that are not neutral.")


class Info(BaseModel):
    """What is served."""

    model_config = ConfigDict(extra="forbid")

    manyheads: str = Field(description="The version of manyheads.")
    model: str = Field(description="The name of its folder or hub repository, or the class of its backbone.")
    backbone: str = Field(description="The class of its backbone.")
    fingerprint: str = Field(description="Identifies the model; each answer has it too.")
    since: float = Field(description="Seconds since the epoch at which it was loaded.")
    language_model: bool = Field(description="Whether it generates text.")
    max_tokens: int | None = Field(description="Most tokens of a text.")
    waiting: int = Field(description="Requests that wait for the model.")
    heads: dict[str, HeadInfo]


def info_of(served: Served, waiting: int) -> dict[str, Any]:
    """Return what a model is and has.

    Args:
        served: The model.
        waiting: Number of requests that wait.
    """
    backbone = served.core.backbone
    return {
        "manyheads": VERSION,
        "model": served.name,
        "backbone": backbone.name,
        "fingerprint": served.fingerprint,
        "since": served.since,
        "language_model": backbone.generates,
        "max_tokens": token_limit(backbone.model, served.tokenizer),
        "waiting": waiting,
        "heads": {name: _head(head) for name, head in served.core.heads.items()},
    }


def _head(head: Head) -> dict[str, Any]:
    spec = head.spec
    return {
        "kind": spec.kind,
        "labels": list(getattr(spec, "labels", ())),
        "reads": [str(tap) for tap in head.taps],
        "text": head.summary.get("text"),
        "decision": {name: getattr(head.decision, name) for name in head.decision.settings},
    }
