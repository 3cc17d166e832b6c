"""The answers of ``POST /v1/systemone`` and ``GET /v1/models``, for their description."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.server.wire.predict import Entity

# A head's answer also has ``x_label``, and ``x_flag``, ``x_abstained``, ``x_set`` and ``x_cost`` where they apply.
_EXTENSIBLE = ConfigDict(extra="allow")


class NoulAnswer(BaseModel):
    """The answer to a yes-or-no question."""

    model_config = _EXTENSIBLE

    type: Literal["noul"]
    noul: float = Field(description="The probability of yes.")


class ChoiceAnswer(BaseModel):
    """The answer to a choice."""

    model_config = _EXTENSIBLE

    type: Literal["choice"]
    choice: str = Field(description="The most probable option.")
    probabilities: dict[str, float]
    confidence: float


class ScoreAnswer(BaseModel):
    """The answer to a score."""

    model_config = _EXTENSIBLE

    type: Literal["score"]
    score: float = Field(description="The expected level.")
    legend: dict[str, Any]
    probabilities: dict[str, float]
    confidence: float


class ValueAnswer(BaseModel):
    """The number that a head predicts."""

    model_config = _EXTENSIBLE

    type: Literal["x_value"]
    x_value: float


class EntitiesAnswer(BaseModel):
    """The spans that a head finds."""

    model_config = _EXTENSIBLE

    type: Literal["x_entities"]
    x_entities: list[Entity]


class Usage(BaseModel):
    """How many tokens were read and written."""

    model_config = ConfigDict(extra="forbid")

    input_tokens: int
    output_tokens: int


class SystemOneAnswer(BaseModel):
    """The answers to typed questions."""

    model_config = ConfigDict(extra="forbid")

    model: str
    answers: dict[str, NoulAnswer | ChoiceAnswer | ScoreAnswer | ValueAnswer | EntitiesAnswer]
    usage: Usage
    x_fingerprint: str = Field(description="The model that answered.")


class ModelName(BaseModel):
    """A name that requests may give for the model."""

    model_config = ConfigDict(extra="forbid")

    name: str
    description: str
    release_date: str = Field(description="The day on which the server loaded the model, as YYYY-MM-DD.")


class ModelNames(BaseModel):
    """The names that requests may give for the model."""

    model_config = ConfigDict(extra="forbid")

    models: list[ModelName]
