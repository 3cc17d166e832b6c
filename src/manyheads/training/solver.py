"""Solve a linear head exactly: mean loss plus ``l2 / 2`` times the squared weights, bias free, on fixed features.

The same objective as scikit-learn's ``LogisticRegression`` with ``C = 1 / (l2 * n)`` (n: the sum of the rows' weights)
and, for squared error, ``Ridge`` with ``alpha = l2 * n / 2``. Features are standardised first, so that one strength
means the same on every column, and the result is folded back into weights for the features as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits
from torch import Tensor

from manyheads.heads import HeadSpec, Regression

# Strong to weak, each solution the start of the next.
L2_PATH = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001)
# A step's gain, relative to the objective, at which the path's solutions are good enough to be compared.
ROUGH = 1e-4
FINE = 1e-8
_MEMORY = 10
_MOST_STEPS = 1000
_LEAST_OBJECTIVE = 1e-6
_LEAST_CURVATURE = 1e-6
# Variance along an axis, relative to the largest, below which it is rounding.
_NO_VARIANCE = 1e-10
# Multiplications per evaluation below which threads cost more, in waiting for each other, than they save.
_WORTH_THREADS = 50_000_000


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation of each feature, (width,); a constant feature keeps 1."""

    mean: Tensor
    deviation: Tensor

    @staticmethod
    def of(features: Tensor) -> Scaling:
        """Measure (rows, width) features."""
        deviation, mean = torch.std_mean(features, dim=0, correction=0)
        return Scaling(mean, torch.where(deviation > 1e-6 * (mean.abs() + 1e-6), deviation, 1.0))

    def apply(self, features: Tensor) -> Tensor:
        """Return standardised features."""
        return (features - self.mean) / self.deviation


@dataclass(frozen=True)
class Basis:
    """Standardised features along their principal axes: the same problem, turned, so that each axis has a curvature
    of its own and L-BFGS needs a half to a third of the steps. Turning leaves the penalty as it is.

    Attributes:
        scaling: From features as they are to standardised ones.
        axes: (width, kept) orthonormal columns; axes along which nothing varies are left out, where weights stay zero.
        variances: (kept,) mean squares along them.
    """

    scaling: Scaling
    axes: Tensor
    variances: Tensor

    @staticmethod
    def of(features: Tensor) -> Basis:
        """Find the axes of (rows, width) features, from whichever of the two Gram matrices is smaller."""
        scaling = Scaling.of(features)
        standard = scaling.apply(features)
        rows, width = standard.shape
        if width <= rows:
            variances, axes = torch.linalg.eigh((standard.T @ standard).double() / rows)
            kept = variances > _NO_VARIANCE * variances[-1]
            return Basis(scaling, axes[:, kept].to(features.dtype), variances[kept].to(features.dtype))
        variances, weights = torch.linalg.eigh((standard @ standard.T).double() / rows)
        kept = variances > _NO_VARIANCE * variances[-1]
        axes = standard.T.double() @ weights[:, kept] / (variances[kept] * rows).sqrt()
        return Basis(scaling, axes.to(features.dtype), variances[kept].to(features.dtype))

    def apply(self, features: Tensor) -> Tensor:
        """Return (rows, kept) features along the axes."""
        return self.scaling.apply(features) @ self.axes

    def unturned(self, layer: Linear) -> Linear:
        """Return the layer that gives the same outputs on features as they are."""
        return Linear(layer.weight @ self.axes.T.to(layer.weight.dtype), layer.bias).unscaled(self.scaling)


@dataclass(frozen=True)
class Linear:
    """A linear layer: weight (outputs, width) and bias (outputs,)."""

    weight: Tensor
    bias: Tensor

    @staticmethod
    def zeros(outputs: int, like: Tensor) -> Linear:
        """Return the start of every path."""
        return Linear(like.new_zeros((outputs, like.shape[1])), like.new_zeros(outputs))

    def __call__(self, features: Tensor) -> Tensor:
        """Return (rows, outputs)."""
        return torch.nn.functional.linear(features, self.weight, self.bias)

    def to(self, dtype: torch.dtype) -> Linear:
        """Return the layer in another precision."""
        return Linear(self.weight.to(dtype), self.bias.to(dtype))

    def unscaled(self, scaling: Scaling) -> Linear:
        """Return the layer that gives the same outputs on features that are not standardised."""
        deviation, mean = scaling.deviation.to(self.weight.dtype), scaling.mean.to(self.weight.dtype)
        weight = self.weight / deviation
        return Linear(weight, self.bias - weight @ mean)


@dataclass(frozen=True)
class Problem:
    """What one head is to be solved on.

    Attributes:
        spec: Whose loss it is.
        features: Standardised (rows, width), every row labelled.
        targets: As the spec encodes them.
        class_weights: As the loss takes them.
        variances: Mean square of each feature (width,), where the features lie along their principal axes.
    """

    spec: HeadSpec
    features: Tensor
    targets: Tensor
    class_weights: Tensor | None
    variances: Tensor | None = None

    def loss(self, layer: Linear) -> Tensor:
        """Return the mean loss, ()."""
        return self.spec.loss(layer(self.features), self.targets, self.class_weights).mean

    def to(self, dtype: torch.dtype) -> Problem:
        """Return the problem with features of another precision."""
        return replace(self, features=self.features.to(dtype))

    def rows(self, index: Tensor) -> Problem:
        """Return the problem of some rows."""
        return replace(self, features=self.features[index], targets=self.targets[index])

    def steps(self, l2: float, start: Linear) -> Tensor:
        """Return a step size per feature and, last, for the bias (width + 1,): one over the root of the curvature
        along it, as far as variances and the start's probabilities tell."""
        probabilities = self.spec.scores(start(self.features).double().numpy())
        curvature = max(float((probabilities * (1 - probabilities)).mean()), _LEAST_CURVATURE)
        width = self.features.shape[1]
        variances = torch.ones(width) if self.variances is None else self.variances
        return torch.cat([curvature * variances.double() + l2, torch.tensor([curvature])]).rsqrt()


def solve(problem: Problem, l2: float, start: Linear, tolerance: float = FINE) -> Linear:
    """Return the layer that minimises the objective.

    Args:
        problem: Features and targets.
        l2: Strength of the penalty, at least 0.
        start: Where to begin; the objective is convex, so that only time depends on it.
        tolerance: Relative gain of a step at which to stop.
    """
    if isinstance(problem.spec, Regression):
        return _ridge(problem, l2)
    return _lbfgs(problem, l2, start, tolerance)


def _lbfgs(problem: Problem, l2: float, start: Linear, tolerance: float) -> Linear:
    """Minimise by L-BFGS (Liu and Nocedal 1989), SciPy's, with the loss's own gradient."""
    outputs, width = start.weight.shape
    steps = problem.steps(l2, start)

    def unpacked(vector: np.ndarray) -> Linear:
        table = (torch.from_numpy(vector).view(outputs, width + 1) * steps).to(problem.features.dtype)
        return Linear(table[:, :width], table[:, width])

    def objective(vector: np.ndarray) -> tuple[float, np.ndarray]:
        layer = unpacked(vector)
        logits = layer(problem.features).requires_grad_()
        loss = problem.spec.loss(logits, problem.targets, problem.class_weights).mean
        loss.backward()  # type: ignore[no-untyped-call]
        slope = logits.grad
        assert slope is not None
        gradient = torch.empty((outputs, width + 1), dtype=slope.dtype)
        torch.matmul(slope.T, problem.features, out=gradient[:, :width])
        gradient[:, :width] += l2 * layer.weight
        gradient[:, width] = slope.sum(dim=0)
        value = float(loss.detach()) + 0.5 * l2 * float(layer.weight.square().sum())
        return value, (gradient.double() * steps).reshape(-1).numpy()

    table = torch.cat([start.weight, start.bias.unsqueeze(1)], dim=1).double() / steps
    vector = table.reshape(-1).numpy()
    worth = problem.features.numel() * outputs > _WORTH_THREADS
    # SciPy's ftol is relative only above 1, so a small objective needs a smaller one.
    tolerance *= min(1.0, max(objective(vector)[0], _LEAST_OBJECTIVE))
    options = {"maxiter": _MOST_STEPS, "maxcor": _MEMORY, "ftol": tolerance, "gtol": 1e-2 * tolerance**0.5}
    with threadpool_limits(None if worth else 1):
        found = minimize(objective, vector, jac=True, method="L-BFGS-B", options=options)
    return unpacked(found.x)


def _ridge(problem: Problem, l2: float) -> Linear:
    """Solve squared error in closed form, in fp64, on centred features."""
    features, targets = problem.features.double(), problem.targets.double()
    centre, offset = features.mean(dim=0), targets.mean()
    centred = features - centre
    gram = centred.T @ centred / len(targets)
    gram.diagonal().add_(0.5 * l2 + 1e-12)
    weight = torch.linalg.solve(gram, centred.T @ (targets - offset) / len(targets))
    bias = offset - weight @ centre
    dtype = problem.features.dtype
    return Linear(weight.unsqueeze(0).to(dtype), bias.unsqueeze(0).to(dtype))
