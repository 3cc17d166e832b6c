"""The query of ``POST /predict/table``."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from manyheads.server.wire.predict import LongText

_Name = Annotated[str, Field(max_length=1000)]


class TableQuery(BaseModel):
    """How a table is scored."""

    model_config = ConfigDict(extra="forbid")

    text: list[_Name] | None = Field(
        None,
        max_length=2,
        description="The column of texts; twice for pairs. By default the one that the heads were trained on.",
    )
    heads: list[_Name] | None = Field(None, description="Names of heads, divided by commas; all by default.")
    long_text: LongText = Field("truncate", description="What becomes of a text beyond the model's limit.")

    @field_validator("heads", mode="before")
    @classmethod
    def _divided(cls, given: list[str] | None) -> list[str] | None:
        return None if given is None else [name.strip() for names in given for name in names.split(",")]
