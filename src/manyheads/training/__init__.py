"""Training: one driver, and methods that contain only their own settings."""

from manyheads.training.frozen.method import Frozen
from manyheads.training.method import Method
from manyheads.training.result import TrainResult
from manyheads.training.train import run_training

__all__ = ["Frozen", "Method", "TrainResult", "run_training"]
