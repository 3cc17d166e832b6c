"""Solve a linear head exactly: mean loss plus ``l2 / 2`` times the squared weights, bias free, on fixed features.

The same objective as scikit-learn's ``LogisticRegression`` with ``C = 1 / (l2 * n)`` (n: the sum of the rows' weights)
and, for squared error, ``Ridge`` with ``alpha = l2 * n / 2``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from manyheads.heads import HeadSpec, Regression
from manyheads.training.solving.design import DenseDesign, Design
from manyheads.training.solving.lbfgs import minimise
from manyheads.training.solving.scaling import Scaling

# Strong to weak, each solution the start of the next.
L2_PATH = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001)
# A step's gain, relative to the objective, at which the path's solutions are good enough to be compared.
ROUGH = 1e-4
FINE = 1e-8
_LEAST_CURVATURE = 1e-6
# Multiplications per evaluation below which threads cost more, in waiting for each other, than they save.
_WORTH_THREADS = 50_000_000


@dataclass(frozen=True)
class Linear:
    """Linear layers, side by side: weight (..., outputs, width) and bias (..., outputs)."""

    weight: Tensor
    bias: Tensor

    @staticmethod
    def zeros(outputs: int, width: int, dtype: torch.dtype = torch.float32) -> Linear:
        """Return the start of every path."""
        return Linear(torch.zeros((outputs, width), dtype=dtype), torch.zeros(outputs, dtype=dtype))

    def __call__(self, features: Tensor) -> Tensor:
        """Return (rows, outputs)."""
        return torch.nn.functional.linear(features, self.weight, self.bias)

    def __getitem__(self, place: int) -> Linear:
        return Linear(self.weight[place], self.bias[place])

    def to(self, dtype: torch.dtype) -> Linear:
        """Return the layers in another precision."""
        return Linear(self.weight.to(dtype), self.bias.to(dtype))

    def repeated(self, count: int) -> Linear:
        """Return the layer ``count`` times."""
        return Linear(self.weight.expand(count, *self.weight.shape), self.bias.expand(count, *self.bias.shape))

    def mean(self) -> Linear:
        """Return the mean of the layers."""
        return Linear(self.weight.mean(dim=0), self.bias.mean(dim=0))

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
        design: Features on a scale on which one penalty serves all of them, every row labelled.
        targets: As the spec encodes them.
        class_weights: As the loss takes them.
        prior: What the layer's outputs are added to (rows, outputs), or ``None``. The penalty then pulls the sum
            towards it, not towards zero.
    """

    spec: HeadSpec
    design: Design
    targets: Tensor
    class_weights: Tensor | None
    prior: Tensor | None = None

    def outputs(self, layer: Linear) -> Tensor:
        """Return (rows, outputs)."""
        outputs = self.design.logits(layer.weight) + layer.bias
        return outputs if self.prior is None else outputs + self.prior

    def loss(self, layer: Linear) -> Tensor:
        """Return the mean loss, ()."""
        return self.spec.loss(self.outputs(layer), self.targets, self.class_weights).mean

    def rows(self, index: Tensor) -> Problem:
        """Return the problem of some rows."""
        prior = None if self.prior is None else self.prior[index]
        return replace(self, design=self.design.take(index), targets=self.targets[index], prior=prior)

    def precise(self) -> Problem:
        """Return the problem in fp64 as far as memory allows."""
        return replace(self, design=self.design.precise())


def solve(problem: Problem, l2: float, start: Linear, tolerance: float = FINE) -> Linear:
    """Return the layer that minimises the objective over all rows.

    Args:
        problem: Features and targets.
        l2: Strength of the penalty, at least 0.
        start: Where to begin; the objective is convex, so that only time depends on it.
        tolerance: Relative gain of a step at which to stop.
    """
    every = torch.arange(problem.design.rows)
    return solve_parts(problem, [every], l2, start.repeated(1), tolerance)[0]


def solve_parts(problem: Problem, parts: Sequence[Tensor], l2: float, start: Linear, tolerance: float) -> Linear:
    """Return one layer per part, each solved on its part of the rows, all at once.

    Args:
        problem: Features and targets of all rows.
        parts: Row numbers of each part.
        l2: Strength of the penalty.
        start: One layer per part.
        tolerance: As for :func:`solve`.
    """
    if isinstance(problem.spec, Regression) and isinstance(problem.design, DenseDesign):
        found = [_ridge(problem.rows(part), l2) for part in parts]
        return Linear(torch.stack([one.weight for one in found]), torch.stack([one.bias for one in found]))
    with few_threads(problem.design.rows * problem.design.width * len(parts) * problem.spec.outputs):
        return _descended(problem, parts, l2, start, tolerance)


def few_threads(multiplications: int) -> AbstractContextManager[object]:
    """Return a context in which small products run on one thread: threads would mostly wait for each other."""
    limits: AbstractContextManager[object] = threadpool_limits(None if multiplications > _WORTH_THREADS else 1)
    return limits


def _descended(problem: Problem, parts: Sequence[Tensor], l2: float, start: Linear, tolerance: float) -> Linear:
    count, outputs, width = start.weight.shape
    dtype = start.weight.dtype
    weight_step, bias_step = _steps(problem, l2, start)
    split = [outputs * width, outputs]
    whole = [len(part) == problem.design.rows for part in parts]

    def unpacked(points: Tensor) -> Linear:
        weight, bias = torch.split(points, split, dim=1)
        return Linear(weight.view(count, outputs, width) * weight_step, bias * bias_step)

    def objective(points: Tensor) -> tuple[Tensor, Tensor]:
        layers = unpacked(points)
        logits = problem.design.logits(layers.weight.reshape(count * outputs, width)).view(-1, count, outputs)
        slope = torch.zeros_like(logits)
        values = []
        for place, part in enumerate(parts):
            mine = (logits[:, place] if whole[place] else logits[part, place]) + layers.bias[place]
            if problem.prior is not None:
                mine = mine + problem.prior[part]
            loss, steepness = _sloped(problem, mine, problem.targets if whole[place] else problem.targets[part])
            slope[part, place] = steepness
            values.append(loss + 0.5 * l2 * layers.weight[place].square().sum())
        gradient = problem.design.gradient(slope.view(-1, count * outputs)).view(count, outputs, width)
        gradient = (gradient + l2 * layers.weight) * weight_step
        return torch.stack(values), torch.cat([gradient.flatten(1), slope.sum(dim=0) * bias_step], dim=1)

    points = torch.cat([(start.weight / weight_step).flatten(1), start.bias / bias_step], dim=1)
    return unpacked(minimise(objective, points.to(dtype), tolerance))


def _sloped(problem: Problem, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss and its gradient with respect to the logits."""
    leaf = logits.detach().requires_grad_()
    with torch.enable_grad():
        loss = problem.spec.loss(leaf, targets, problem.class_weights).mean
        loss.backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


def _steps(problem: Problem, l2: float, start: Linear) -> tuple[Tensor, Tensor]:
    """Return step sizes (parts, outputs, width) and (parts, outputs) for the bias: one over the root of the curvature
    along each weight, as far as the columns' variances and the start's probabilities tell."""
    curvature = torch.stack([_curvature(problem, start[place]) for place in range(len(start.bias))])
    squares = curvature.unsqueeze(-1) * problem.design.variances + l2
    dtype = start.weight.dtype
    # One step for all biases: softmax does not see what they have in common, and equal steps leave that at zero.
    bias = curvature.mean(dim=1, keepdim=True).expand_as(curvature)
    return squares.clamp(min=_LEAST_CURVATURE**2).rsqrt().to(dtype), bias.rsqrt().to(dtype)


def _curvature(problem: Problem, layer: Linear) -> Tensor:
    """Return the mean second derivative of the loss with respect to each output (outputs,), never zero."""
    curvature = problem.spec.curvature(problem.outputs(layer).double(), problem.targets)
    return curvature.clamp(min=_LEAST_CURVATURE)


def _ridge(problem: Problem, l2: float) -> Linear:
    """Solve squared error in closed form, in fp64, on centred features."""
    assert isinstance(problem.design, DenseDesign)
    features, targets = problem.design.values.double(), problem.targets.double()
    centre, offset = features.mean(dim=0), targets.mean()
    centred = features - centre
    gram = centred.T @ centred / len(targets)
    gram.diagonal().add_(0.5 * l2 + 1e-12)
    weight = torch.linalg.solve(gram, centred.T @ (targets - offset) / len(targets))
    bias = offset - weight @ centre
    dtype = problem.design.values.dtype
    return Linear(weight.unsqueeze(0).to(dtype), bias.unsqueeze(0).to(dtype))
