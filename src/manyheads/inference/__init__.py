"""From texts to predictions."""

from manyheads.inference.continuations import Continuations
from manyheads.inference.predictions import Predictions
from manyheads.inference.scorer import Scorer
from manyheads.inference.settings import ScoringSettings

__all__ = ["Continuations", "Predictions", "Scorer", "ScoringSettings"]
