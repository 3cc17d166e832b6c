"""From texts to predictions."""

from manyheads.inference.predictions import Predictions
from manyheads.inference.predictor import predict

__all__ = ["Predictions", "predict"]
