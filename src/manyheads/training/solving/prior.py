"""The weights that a head starts with as a prior: what the penalty pulls towards, instead of zero.

The solved problem is convex, so that a mere start would be forgotten. Solving for what is *added* to the start's
outputs, with the same penalty on that alone, is the same as pulling towards the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.backbone.stack.probe import evaluating
from manyheads.heads import Head
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.objective import Linear

# How far the start's outputs spread over the rows, in logits; held-out rows choose. With zero, a start that says
# nothing of the labels costs nothing.
SCALES = (1.0, 0.6, 0.3, 0.0)
_ROWS = 1024


@dataclass(frozen=True, eq=False)
class LMHeadStart:
    """A head's own weights before it learns, and what they say of its rows.

    Attributes:
        layer: The weights, fp32.
        said: Their outputs (rows, outputs), each output's mean at zero.
        mean: Of each output (outputs,), before that.
        spread: Standard deviation of all that is said.
    """

    layer: Linear
    said: Tensor
    mean: Tensor
    spread: float

    @staticmethod
    def of(head: Head, rows: HeadTrainingSet) -> LMHeadStart | None:
        """Ask a head about its rows; ``None`` where it says the same of all."""
        parts = [rows.all[start : start + _ROWS] for start in range(0, len(rows.all), _ROWS)]
        with evaluating(head):
            said = torch.cat([head(rows.features(part)) for part in parts])
        layer = Linear(head.output.weight.detach().clone(), head.output.bias.detach().clone())
        mean = said.mean(dim=0)
        spread = float((said - mean).std())
        return LMHeadStart(layer, said - mean, mean, spread) if np.isfinite(spread) and spread > 0 else None

    def outputs(self, scale: float) -> Tensor:
        """Return what it says (rows, outputs), spread to a scale."""
        return self.said * (scale / self.spread)


@dataclass(frozen=True, eq=False)
class Prior:
    """Where a penalty pulls to.

    Attributes:
        start: The head's start, or ``None`` for zero.
        scale: The spread of its outputs.
    """

    start: LMHeadStart | None = None
    scale: float = 0.0

    def added(self, layer: Linear) -> Linear:
        """Return a layer that was solved for what is added to the start, and the start."""
        if self.start is None or not self.scale:
            return layer
        factor = self.scale / self.start.spread
        own = self.start.layer
        return Linear(layer.weight + factor * own.weight, layer.bias + factor * (own.bias - self.start.mean))
