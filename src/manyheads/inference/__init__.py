"""From texts to predictions."""

from manyheads.inference.continuations import Continuations
from manyheads.inference.generation_events import Event, GenerationEnd, TextPiece
from manyheads.inference.predictions import Predictions
from manyheads.inference.scorer import Scorer
from manyheads.inference.settings import ScoringSettings

__all__ = ["Continuations", "Event", "GenerationEnd", "Predictions", "Scorer", "ScoringSettings", "TextPiece"]
