"""From texts to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manyheads.inference.generation_events import Event, GenerationEnd, TextPiece
from manyheads.inference.predictions import Predictions
from manyheads.runtime.lazy import lazy_names

if TYPE_CHECKING:
    from manyheads.inference.continuations import Continuations
    from manyheads.inference.scorer import Scorer
    from manyheads.inference.settings import ScoringSettings

__all__ = ["Continuations", "Event", "GenerationEnd", "Predictions", "Scorer", "ScoringSettings", "TextPiece"]

# Predictions are read without torch, which making them needs.
__getattr__ = lazy_names(
    __name__,
    {
        "Continuations": "manyheads.inference.continuations",
        "Scorer": "manyheads.inference.scorer",
        "ScoringSettings": "manyheads.inference.settings",
    },
)
