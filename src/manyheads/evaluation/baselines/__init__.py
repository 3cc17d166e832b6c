"""What a head has to beat: a constant answer, and simple models of the words."""

from manyheads.evaluation.baselines.baselines import Baseline, TrainingRows, baselines_of

__all__ = ["Baseline", "TrainingRows", "baselines_of"]
