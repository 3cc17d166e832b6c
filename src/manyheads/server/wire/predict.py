"""The bodies of ``POST /predict``: texts in, the answers of heads out."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.server.wire.errors import Problem
from manyheads.server.wire.several import Several

LongText = Literal["truncate", "error", "mean", "max"]
Label = str | int | float | bool


class PredictBody(BaseModel):
    """Texts to predict. One of ``text``, ``texts``, ``pairs`` and ``words`` is given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str | None = Field(None, description="One text.")
    texts: Several[str] | None = Field(None, description="Texts.")
    pairs: Several[tuple[str, str]] | None = Field(None, description="Pairs of texts, for heads trained on pairs.")
    words: Several[Several[str]] | None = Field(None, description="The words of each text, for token heads.")
    heads: Several[str] | None = Field(None, description="Names of heads; all by default.")
    truncate: bool | None = Field(
        None, description="Whether a text beyond the model's limit is cut; false makes it an error of its own."
    )
    long_text: LongText | None = Field(
        None, description="What becomes of a text beyond the limit; 'mean' and 'max' read all of it in windows."
    )
    top_k: int | None = Field(None, ge=1, description="Number of labels with their scores, most probable first.")


class ScoredLabel(BaseModel):
    """A label and its score."""

    model_config = ConfigDict(extra="forbid")

    label: Label
    score: float


class Entity(BaseModel):
    """A span that a token head found."""

    model_config = ConfigDict(extra="forbid")

    entity_group: Label
    score: float
    word: str | None
    start: int
    end: int


class HeadAnswer(BaseModel):
    """The answer of one head for one text; a head has the fields of its kind."""

    model_config = ConfigDict(extra="forbid")

    label: Label | None = Field(None, description="The label of a head that has one per text.")
    score: float | None = Field(None, description="The label's calibrated probability.")
    labels: list[ScoredLabel] | None = Field(None, description="The labels of a head that has any number per text.")
    entities: list[Entity] | None = Field(None, description="The spans of a token head.")
    value: float | None = Field(None, description="The number of a head that predicts numbers.")
    abstained: bool | None = Field(None, description="Whether the head's decision leaves the text to a human.")
    set: list[Label] | None = Field(None, description="The prediction set of the head's decision.")
    cost: float | None = Field(None, description="The expected cost of the label, if the decision has costs.")
    scores: list[ScoredLabel] | None = Field(None, description="The most probable labels, with ``top_k``.")


class Unanswered(BaseModel):
    """Why a text cannot be answered."""

    model_config = ConfigDict(extra="forbid")

    error: Problem


class PredictAnswer(BaseModel):
    """The answers of all heads for all texts."""

    model_config = ConfigDict(extra="forbid")

    predictions: list[Unanswered | dict[str, HeadAnswer]] = Field(
        description="For each text, head name -> answer; or why it cannot be answered."
    )
    flags: list[Literal["empty", "truncated", "split"] | None] = Field(description="What is unusual about each text.")
    fingerprint: str = Field(description="Identifies the model that answered.")
