"""The body and the answer of ``POST /v1/moderations``, in the shape of OpenAI's moderations."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field

from manyheads.server.wire.several import Several
from manyheads.types import Prediction


class ModerationsBody(BaseModel):
    """Texts to moderate."""

    model_config = ConfigDict(extra="ignore", strict=True)

    input: str | Several[str] = Field(description="One text, or several.")
    model: str | None = Field(None, description="Name of a multi-label head; needed if the model has several.")


class Moderation(BaseModel):
    """The answer for one text."""

    model_config = ConfigDict(extra="forbid")

    flagged: bool = Field(description="Whether any label reaches its threshold.")
    categories: dict[str, bool] = Field(description="Label -> whether it reaches its threshold.")
    category_scores: dict[str, float] = Field(description="Label -> its calibrated probability.")


class Moderations(BaseModel):
    """The answers for all texts."""

    model_config = ConfigDict(extra="forbid")

    id: str
    model: str = Field(description="The name of the head.")
    results: list[Moderation]
    fingerprint: str = Field(description="Identifies the model that answered.")


def moderations_of(head: str, predictions: list[Prediction], fingerprint: str) -> dict[str, Any]:
    """Return the answers of a multi-label head as JSON."""
    results = [_result(prediction) for prediction in predictions]
    return {"id": f"modr-{uuid4().hex}", "model": head, "results": results, "fingerprint": fingerprint}


def _result(prediction: Prediction) -> dict[str, Any]:
    return {
        "flagged": bool(prediction.labels),
        "categories": {str(label): label in prediction.labels for label in prediction.scores},
        "category_scores": {str(label): score for label, score in prediction.scores.items()},
    }
