"""The factor of a head's logits with the least held-out loss: temperature scaling (Guo et al. 2017, section 4.2).

A strong penalty orders classes well but leaves small weights and unsure probabilities, so penalties that are compared
by the plain held-out loss come out too weak. Comparing them by the loss after scaling, and scaling the chosen solution,
gives both the better order and the right probabilities (Berta et al. 2025, "Rethinking early stopping").
"""

from __future__ import annotations

import math

from scipy.optimize import minimize_scalar
from torch import Tensor

from manyheads.heads import HeadSpec

# The logarithms of the smallest and the largest factor, and the precision of the logarithm.
_BOUNDS = (math.log(0.1), math.log(20))
_PRECISION = 1e-3


def best_scale(
    spec: HeadSpec,
    logits: Tensor,
    targets: Tensor,
    class_weights: Tensor | None,
    sample_weight: Tensor | None = None,
) -> float:
    """Return the factor of the logits with the least loss, between 0.1 and 20.

    A normal prior of its logarithm, with standard deviation one, counts like one more item: a few items that are all
    right do not make the head certain.

    Args:
        spec: Of a head with labels, whose loss is a log loss.
        logits: (items, outputs) of items that were not trained on.
        targets: As the loss takes them.
        class_weights: As the loss takes them.
        sample_weight: As the loss takes them.
    """

    def loss(exponent: float) -> float:
        terms = spec.loss(math.exp(exponent) * logits, targets, class_weights, sample_weight)
        return float(terms.mean) + exponent**2 / 2 / len(logits)

    found = minimize_scalar(loss, bounds=_BOUNDS, method="bounded", options={"xatol": _PRECISION})
    return math.exp(found.x) if found.fun < loss(0.0) else 1.0
