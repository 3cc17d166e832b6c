"""Fit a linear head on stored features: choose L2 on held-out rows, then solve on all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.heads import Head
from manyheads.training.rows import HeadRows
from manyheads.training.solver import FINE, L2_PATH, ROUGH, Basis, Linear, Problem, solve
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
        basis = Basis.of(features)
        targets = torch.from_numpy(rows.targets)
        problem = Problem(head.spec, basis.apply(features), targets, rows.class_weights, basis.variances)
        walk = _walked(problem, rows) if self.l2 is None else _Walk(Linear.zeros(head.spec.outputs, problem.features))
        l2 = walk.best_l2 if self.l2 is None else self.l2
        layer = basis.unturned(_polished(problem, l2, walk.start))
        state = {"output.weight": layer.weight.float(), "output.bias": layer.bias.float()}
        return Fit(state, {"l2": l2}, walk.trials, [])


class _Walk:
    """A walk along the penalties.

    Attributes:
        start: A layer near the solution, for the solve on all rows.
        best_l2: The strength with the least held-out loss.
        trials: What was tried.
    """

    def __init__(self, start: Linear) -> None:
        self.start = start
        self.best_l2 = math.nan
        self.trials: list[Trial] = []

    def see(self, l2: float, loss: float, layers: list[Linear]) -> None:
        if all(loss < trial.loss for trial in self.trials):
            self.best_l2 = l2
            weights, biases = ([getattr(layer, part) for layer in layers] for part in ("weight", "bias"))
            self.start = Linear(torch.stack(weights).mean(dim=0), torch.stack(biases).mean(dim=0))
        self.trials.append(Trial({"l2": l2}, loss))

    @property
    def hopeless(self) -> bool:
        """Whether the weaker penalties have only become worse for a while."""
        best = min(trial.loss for trial in self.trials)
        return all(trial.loss > best for trial in self.trials[-_PATIENCE:])


def _walked(problem: Problem, rows: HeadRows) -> _Walk:
    """Walk from strong to weak, the mean held-out loss over folds as the guide."""
    numbers = np.unique(rows.folds[rows.folds >= 0])
    kept = [problem.rows(_index(rows.folds != number)) for number in numbers]
    held_out = [problem.rows(_index(rows.folds == number)) for number in numbers]
    layers = [Linear.zeros(problem.spec.outputs, problem.features) for _ in numbers]
    walk = _Walk(layers[0])
    for l2 in L2_PATH:
        layers = [solve(part, l2, layer, ROUGH) for part, layer in zip(kept, layers, strict=True)]
        losses = [float(part.loss(layer)) for part, layer in zip(held_out, layers, strict=True)]
        walk.see(l2, float(np.mean(losses)), layers)
        if walk.hopeless:
            break
    return walk


def _polished(problem: Problem, l2: float, start: Linear) -> Linear:
    """Solve in fp32, then, where memory allows, in fp64 from there: most steps are taken at half the price."""
    rough = solve(problem, l2, start, ROUGH)
    if problem.features.numel() <= _FP64_VALUES:
        problem, rough = problem.to(torch.float64), rough.to(torch.float64)
    return solve(problem, l2, rough, FINE)


def _index(chosen: np.ndarray) -> Tensor:
    return torch.from_numpy(np.flatnonzero(chosen))
