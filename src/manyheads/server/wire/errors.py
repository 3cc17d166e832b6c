"""The bodies of errors, the same on every route."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """What is wrong at one place of a body."""

    model_config = ConfigDict(extra="forbid")

    loc: list[str | int] = Field(description="Where: 'body', then names of fields and positions in lists.")
    msg: str = Field(description="What is wrong.")
    type: str = Field(description="A word for it that programs can compare.")


class InvalidBody(BaseModel):
    """The body of status 422."""

    model_config = ConfigDict(extra="forbid")

    detail: list[Problem]


class Reason(BaseModel):
    """Why a request failed."""

    model_config = ConfigDict(extra="forbid")

    error_type: str = Field(description="A word for it that programs can compare.")
    message: str = Field(description="What to do.")


class Failure(BaseModel):
    """The body of every other error."""

    model_config = ConfigDict(extra="forbid")

    detail: Reason
