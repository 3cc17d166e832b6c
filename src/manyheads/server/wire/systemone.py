"""The answers of ``POST /v1/systemone`` and ``GET /v1/models``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.server.wire.predict import Entity, Label


class SystemOneAnswerOf(BaseModel):
    """The answer to one question; the fields are those of its type."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["noul", "choice", "score", "x_value", "x_entities"]
    noul: float | None = Field(None, description="The probability of yes.")
    choice: str | None = Field(None, description="The most probable option.")
    score: float | None = Field(None, description="The expected level, counted from 0.")
    legend: dict[str, Any] | None = Field(None, description="Level -> what it means.")
    probabilities: dict[str, float] | None = Field(None, description="Option or level -> probability.")
    confidence: float | None = Field(None, description="By the formulas of the specification, from 0 to 1.")
    x_value: float | None = Field(None, description="The number of a head that predicts numbers.")
    x_entities: list[Entity] | None = Field(None, description="The spans of a token head.")
    x_label: Label | None = Field(None, description="The head's label; whether it has the label that was asked.")
    x_flag: Literal["empty", "truncated", "split"] | None = Field(None, description="What is unusual about the state.")
    x_abstained: bool | None = Field(None, description="Whether the head's decision leaves the state to a human.")
    x_set: list[Label] | None = Field(None, description="The prediction set of the head's decision.")
    x_cost: float | None = Field(None, description="The expected cost of the head's label.")


class SystemOneUsage(BaseModel):
    """Numbers of tokens."""

    model_config = ConfigDict(extra="forbid")

    input_tokens: int
    output_tokens: int


class SystemOneAnswer(BaseModel):
    """Answers to typed questions."""

    model_config = ConfigDict(extra="forbid")

    model: str
    answers: dict[str, SystemOneAnswerOf] = Field(description="Id of the question -> answer.")
    usage: SystemOneUsage
    x_fingerprint: str = Field(description="Identifies the model that answered.")


class NamedModel(BaseModel):
    """A name that requests may give for the model."""

    model_config = ConfigDict(extra="forbid")

    name: str
    description: str
    release_date: str


class Models(BaseModel):
    """All of these names."""

    model_config = ConfigDict(extra="forbid")

    models: list[NamedModel]
