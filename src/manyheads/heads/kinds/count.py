"""Count: how often something occurs, by Poisson regression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from manyheads.heads.base import LEAST_SCORE, CellLosses
from manyheads.heads.kinds.number import NumberSpec
from manyheads.heads.kinds.softmax import logarithm

if TYPE_CHECKING:
    from torch import Tensor

# fp32 represents every integer up to here.
_LARGEST = 2**24
# The logarithm of a number that fp32 can still represent.
_LARGEST_LOGIT = 88.0


@dataclass(frozen=True, repr=False)
class Count(NumberSpec):
    """A non-negative integer per text, by Poisson regression with a log link.

    The logit z is the logarithm of the expected count, which is ``prediction.value``. The loss is half the Poisson
    deviance of the count y (McCullagh and Nelder 1989, section 6.2)::

        y * log(y / exp(z)) - y + exp(z)

    Its gradient is that of ``torch.nn.PoissonNLLLoss`` and, with ``l2 = alpha``, of scikit-learn's
    ``PoissonRegressor``. No column is inferred as a count: name the kind.

    Examples:
        >>> visits = [{"note": row["note"], "visits": len(row["note"]) // 10} for row in table]
        >>> head = model.add_head("visits", mh.Count())
        >>> result = mh.train(model, visits, text="note", heads=["visits"])
        >>> model.predict(texts, heads=["visits"])[0]["visits"].value > 0
        True
    """

    kind: ClassVar[str] = "count"
    valid_target: ClassVar[str] = f"a count, an integer from 0 to {_LARGEST}"

    @property
    def main_metric(self) -> str:
        """The share of the Poisson deviance that the predictions explain."""
        return "d2"

    def allows(self, values: np.ndarray) -> np.ndarray:
        """Return booleans: the values that are counts."""
        allowed: np.ndarray = (values >= 0) & (values <= _LARGEST) & (values == np.floor(values))
        return allowed

    def cell_losses(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> CellLosses:
        """Return half the Poisson deviance of each row."""
        import torch

        present = self.labelled(targets)
        counts, logits = targets[present].to(logits.dtype), logits[present].squeeze(-1)
        # With s = max(y, 1) and d = z - log(s), the formula of the class without the difference of large numbers.
        scale = counts.clamp(min=1.0)
        distance = logits - scale.log()
        losses = scale * (distance.expm1() - torch.where(counts > 0, distance, -1.0))
        return CellLosses(losses, torch.ones_like(losses), present)

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean of the expected counts, the second derivative of the loss."""
        return logits.exp().mean(dim=0)

    def initial_bias(self, targets: np.ndarray) -> float:
        """Return the logarithm of the mean count."""
        return math.log(max(float(targets.mean()), 1 / (len(targets) + 1)))

    def raw_scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the expected counts (rows, 1)."""
        counts: np.ndarray = np.exp(np.minimum(logits, _LARGEST_LOGIT))
        return counts

    def raw_logits(self, scores: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Return the logarithms of expected counts (rows, 1)."""
        return logarithm(scores, least)
