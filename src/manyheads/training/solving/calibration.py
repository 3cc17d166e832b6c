"""The factor of a head's logits with the least held-out loss in training, part of a solution's weights.

It is found like a temperature (Guo et al. 2017, section 4.2), but by the training loss, class weights included, and for
each penalty. The temperature of a decision (``deciding/temperature.py``) comes after training and divides logits.

A strong penalty orders classes well but leaves small weights and unsure probabilities, so penalties that are compared
by the plain held-out loss come out too weak. Comparing them by the loss after scaling, and scaling the chosen solution,
gives both the better order and the right probabilities (Berta et al. 2025, "Rethinking early stopping").
"""

from __future__ import annotations

from torch import Tensor

from manyheads.deciding.temperature import least_loss_factor
from manyheads.heads import HeadSpec

# The smallest and the largest factor.
_LOWEST, _HIGHEST = 0.1, 20.0


def best_scale(
    spec: HeadSpec,
    logits: Tensor,
    targets: Tensor,
    class_weights: Tensor | None,
    sample_weight: Tensor | None = None,
) -> float:
    """Return the factor of the logits with the least loss, between 0.1 and 20, see ``least_loss_factor``.

    Args:
        spec: Of a head with labels, whose loss is a log loss.
        logits: (items, outputs) of items that were not trained on.
        targets: As the loss takes them.
        class_weights: As the loss takes them.
        sample_weight: As the loss takes them.
    """

    def loss(factor: float) -> float:
        return float(spec.loss(factor * logits, targets, class_weights, sample_weight).mean)

    return least_loss_factor(loss, len(logits), _LOWEST, _HIGHEST)
