"""The body of the health routes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Health(BaseModel):
    """That the server is in a state."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["live", "ready"]
