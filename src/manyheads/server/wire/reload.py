"""The answer of ``POST /admin/reload``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Reloaded(BaseModel):
    """The model that answers from now on."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: str = Field(description="Identifies the model.")
