"""The selection of the best epoch: heads are compared by their main metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from manyheads.errors import MethodError, UnknownHeadError, listed
from manyheads.evaluation.metrics import Metrics
from manyheads.heads import Head
from manyheads.training.dataset import TrainingData

MEAN = "mean"


@dataclass(frozen=True)
class Selection:
    """How epochs are compared.

    Attributes:
        weights: Head name -> weight of its main metric (accuracy, micro F1, quadratic kappa or R squared).
        patience: Epochs without improvement after which to stop; ``None`` for no early stopping.
    """

    weights: Mapping[str, float]
    patience: int | None

    def score(self, metrics: Mapping[str, Metrics], heads: Mapping[str, Head]) -> float:
        """Return the weighted mean of the heads' main metrics; minus infinity where one is undefined."""
        values = [(weight, metrics[name].get(heads[name].spec.main_metric)) for name, weight in self.weights.items()]
        if any(value is None or math.isnan(value) for _, value in values):
            return -math.inf
        return sum(weight * value for weight, value in values if value is not None) / sum(self.weights.values())


def selection_of(
    best_by: str | Mapping[str, float] | None, patience: int | None, heads: Mapping[str, Head], data: TrainingData
) -> Selection | None:
    """Return the selection for a method's settings; ``None`` if the last epoch is kept.

    Raises:
        UnknownHeadError: ``best_by`` names a head that is not being trained.
        MethodError: a head has no labelled evaluation row.
    """
    if best_by is None and patience is None:
        return None
    if isinstance(best_by, Mapping):
        weights = {name: float(weight) for name, weight in best_by.items()}
    elif best_by is None or (best_by == MEAN and MEAN not in heads):
        weights = dict.fromkeys(heads, 1.0)
    else:
        weights = {best_by: 1.0}
    for name in weights:
        if name not in heads:
            raise UnknownHeadError(f"best_by: no head {name!r} is being trained; the heads: {listed(heads)}")
        if not data.targets[name].labelled[data.evaluate].any():
            raise MethodError(
                f"best_by: no evaluation row is labelled for head {name!r}; give eval_data or eval_fraction"
            )
    return Selection(weights, patience)
