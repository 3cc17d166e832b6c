"""The body of ``POST /predict``."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.server.wire.several import Several

LongText = Literal["truncate", "error", "mean", "max"]


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
