"""Fit a linear head on stored features: choose L2 on held-out rows, then solve on all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.heads import Head
from manyheads.training.rows import HeadRows
from manyheads.training.solver import FINE, L2_PATH, ROUGH, Linear, Problem, Scaling, solve
from manyheads.training.trial import Fit, Trial

# Above this, fp64 copies of the features would cost more memory than their last digits are worth.
_FP64_VALUES = 50_000_000
# Once this many weaker penalties in a row are worse on held-out rows, the rest of the path is not walked.
_PATIENCE = 2


@dataclass(frozen=True)
class LinearFitter:
    """Fits one linear head.

    Args:
        l2: The penalty's strength; ``None`` chooses it on held-out rows.
    """

    l2: float | None = None

    def fit(self, head: Head, rows: HeadRows) -> Fit:
        """Return the head's new weights.

        Args:
            head: A head of one linear layer; not changed.
            rows: Its labelled training rows.
        """
        features = torch.cat([item.values for item in rows.features(rows.all)], dim=-1)
        if features.numel() <= _FP64_VALUES:
            features = features.double()
        scaling = Scaling.of(features)
        problem = Problem(head.spec, scaling.apply(features), torch.from_numpy(rows.targets), rows.class_weights)
        trials = [] if self.l2 is not None else _walk(problem, rows)
        l2 = self.l2 if self.l2 is not None else min(trials, key=lambda trial: trial.loss).settings["l2"]
        start = Linear.zeros(head.spec.outputs, problem.features)
        layer = solve(problem, l2, start, FINE).unscaled(scaling)
        state = {"output.weight": layer.weight.float(), "output.bias": layer.bias.float()}
        return Fit(state, {"l2": l2}, trials, [])


def _walk(problem: Problem, rows: HeadRows) -> list[Trial]:
    """Return each strength's mean held-out loss, over folds, from strong to weak until it only gets worse."""
    numbers = np.unique(rows.folds[rows.folds >= 0])
    folds = [(_index(rows.folds != number), _index(rows.folds == number)) for number in numbers]
    layers = [Linear.zeros(problem.spec.outputs, problem.features) for _ in folds]
    trials: list[Trial] = []
    for l2 in L2_PATH:
        losses = []
        for place, (kept, held_out) in enumerate(folds):
            layers[place] = solve(problem.rows(kept), l2, layers[place], ROUGH)
            losses.append(float(problem.rows(held_out).loss(layers[place])))
        trials.append(Trial({"l2": l2}, float(np.mean(losses))))
        if len(trials) > _PATIENCE and all(trial.loss > min(t.loss for t in trials) for trial in trials[-_PATIENCE:]):
            break
    return trials


def _index(chosen: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen))
