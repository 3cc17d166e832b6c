"""The solutions of one head along decreasing L2 penalties, compared on held-out rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from manyheads.taps import Tap
from manyheads.training.fit import Alternative
from manyheads.training.solving.calibration import best_scale
from manyheads.training.solving.design_of_head import HeadDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.prior import Prior


@dataclass(frozen=True, eq=False)
class Step:
    """The solution for one penalty.

    Attributes:
        l2: Strength of the penalty.
        prior: The weights towards which it pulls.
        problem: The problem that was solved, on all rows.
        layers: One solution per fold, each without the fold's held-out rows.
        scale: Factor of the logits, see ``calibration.py``.
    """

    l2: float
    prior: Prior
    problem: Problem
    layers: Linear
    scale: float = 1.0

    @property
    def settings(self) -> dict[str, float]:
        """The strength, the factor of the logits if there is one, and the scale of the prior if there is one."""
        scale = {"scale": self.scale} if self.scale != 1 else {}
        prior = {"prior": self.prior.scale} if self.prior.start is not None else {}
        return {"l2": self.l2, **scale, **prior}


class RegularizationPath:
    """The steps of one head on one set of taps, and the best of them.

    Args:
        taps: The head's taps.
        design: The head's design matrix.
        problem: The problem without a prior, on all rows.
        held_out: Held-out rows of each fold.
        calibrates: Whether the logits of each step are scaled to the least held-out loss.

    Attributes:
        alternatives: One record per step.
        best: The step with the least held-out loss, or ``None`` before the first one.
    """

    def __init__(
        self,
        taps: tuple[Tap, ...],
        design: HeadDesign,
        problem: Problem,
        held_out: Sequence[Tensor],
        calibrates: bool = False,
    ) -> None:
        self.taps, self.design, self.problem = taps, design, problem
        self.calibrates = calibrates
        self.alternatives: list[Alternative] = []
        self.best: Step | None = None
        self._held_out = held_out
        self._best_logits: list[Tensor] = []

    def add(self, step: Step) -> float:
        """Add a step and return its mean loss over the folds' held-out rows."""
        spec, weights = self.problem.spec, self.problem.class_weights
        folds = [step.problem.take(rows).logits(step.layers[fold]) for fold, rows in enumerate(self._held_out)]
        rows = torch.cat(list(self._held_out))
        logits, targets, by_row = torch.cat(folds).double(), self.problem.targets[rows], self.problem.weights_of(rows)
        if self.calibrates:
            step = replace(step, scale=best_scale(spec, logits, targets, weights, by_row))
        loss = float(spec.loss(step.scale * logits, targets, weights, by_row).mean)
        if all(loss < alternative.loss for alternative in self.alternatives):
            self.best, self._best_logits = step, [step.scale * fold for fold in folds]
        self.alternatives.append(Alternative(self.taps, step.settings, loss))
        return loss

    @property
    def out_of_fold(self) -> np.ndarray:
        """The best step's logits (rows, outputs) fp32, each row's from a layer that was fitted without it; NaN for rows
        that no fold holds out.
        """
        logits = np.full((self.problem.design.rows, self.problem.spec.outputs), np.nan, dtype=np.float32)
        for rows, fold_logits in zip(self._held_out, self._best_logits, strict=True):
            logits[rows.numpy()] = fold_logits.numpy()
        return logits
