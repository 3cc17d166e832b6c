"""What a head has to beat: a constant answer, and simple models of the words."""

from manyheads.evaluation.baselines.baselines import Baseline, baselines_of
from manyheads.evaluation.baselines.rows import TrainingRows

__all__ = ["Baseline", "TrainingRows", "baselines_of"]
