"""A head's initial weights as a prior: the L2 penalty pulls towards them instead of towards zero.

The objective is convex, so initial weights alone would not change the solution. Instead the solver fits a layer that is
*added* to the initial logits. Its penalty is then the squared distance from the initial weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.backbone.stack.probe import evaluating
from manyheads.heads import Head
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.linear import Linear

# Candidates for the standard deviation of the prior's logits; held-out rows choose. Zero turns the prior off, so that
# an uninformative start does no harm.
PRIOR_SCALES = (1.0, 0.6, 0.3, 0.0)
_BATCH_ROWS = 1024


@dataclass(frozen=True, eq=False)
class LMHeadStart:
    """A head's initial weights from the LM head, and their logits on the training rows.

    Attributes:
        layer: The weights, fp32.
        logits: (rows, outputs), each output centered.
        mean: Mean of each output before centering (outputs,).
        spread: Standard deviation of all centered logits.
    """

    layer: Linear
    logits: Tensor
    mean: Tensor
    spread: float

    @staticmethod
    def of(head: Head, training_set: HeadTrainingSet) -> LMHeadStart | None:
        """Run an untrained head on its training rows; return ``None`` where the logits do not differ between rows."""
        rows = training_set.rows
        batches = [rows[start : start + _BATCH_ROWS] for start in range(0, len(rows), _BATCH_ROWS)]
        with evaluating(head):
            logits = torch.cat([head(training_set.features(batch)) for batch in batches])
        layer = Linear(head.output.weight.detach().clone(), head.output.bias.detach().clone())
        mean = logits.mean(dim=0)
        spread = float((logits - mean).std())
        return LMHeadStart(layer, logits - mean, mean, spread) if np.isfinite(spread) and spread > 0 else None

    def scaled_logits(self, scale: float) -> Tensor:
        """Return the logits (rows, outputs) at a given standard deviation."""
        return self.logits * (scale / self.spread)


@dataclass(frozen=True, eq=False)
class Prior:
    """The weights towards which the penalty pulls.

    Attributes:
        start: The head's initial weights, or ``None`` for zero.
        scale: Standard deviation of their logits.
    """

    start: LMHeadStart | None = None
    scale: float = 0.0

    def added_to(self, layer: Linear) -> Linear:
        """Return the sum of the scaled initial weights and a layer that was solved on top of them."""
        if self.start is None or not self.scale:
            return layer
        factor = self.scale / self.start.spread
        initial = self.start.layer
        return Linear(layer.weight + factor * initial.weight, layer.bias + factor * (initial.bias - self.start.mean))
