"""Minimize the objective of a linear head (see ``objective.py``): L-BFGS, or closed form for squared error."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from manyheads.runtime.threads import threads
from manyheads.training.solving.design import DenseDesign
from manyheads.training.solving.lbfgs import minimize
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import PackedObjective, Problem

# Gain of a step, relative to the objective, at which a problem counts as solved: rough solutions are good enough to
# compare penalties, and fp32 does not resolve gains below its own tolerance.
ROUGH_TOLERANCE = 1e-4
FINE_TOLERANCE = 1e-8
_FP32_TOLERANCE = 1e-6
# With so many multiplications per evaluation, which then takes tenths of a second, the last steps cost more than they
# change.
_LARGE_TOLERANCE, _LARGE = 1e-5, 5_000_000_000
# Multiplications per evaluation above which fp64 costs more than its digits are worth: fp32 comes within 1e-5.
_MAX_FP64_MULTIPLICATIONS = 100_000_000


def solve(problem: Problem, l2: float, start: Linear, tolerance: float = FINE_TOLERANCE) -> Linear:
    """Return the layer that minimizes the objective over all rows.

    Args:
        problem: Features and targets.
        l2: Strength of the penalty, at least 0.
        start: Initial layer; the objective is convex, so only the time depends on it.
        tolerance: Gain of a step, relative to the objective, at which to stop.
    """
    all_rows = torch.arange(problem.design.rows)
    return solve_parts(problem, [all_rows], l2, start.repeated(1), tolerance)[0]


def solve_refined(problem: Problem, l2: float, start: Linear) -> Linear:
    """Return the minimizing layer, solved in fp32 and then, unless the problem is large, refined in fp64: most steps
    run at half the cost.
    """
    rough = solve(problem, l2, start, ROUGH_TOLERANCE)
    multiplications = problem.design.rows * problem.design.width * problem.spec.outputs
    large = multiplications > _MAX_FP64_MULTIPLICATIONS
    precise = problem if large and not problem.spec.squared_error else problem.precise()
    if precise.design is problem.design:
        return solve(problem, l2, rough, _LARGE_TOLERANCE if multiplications > _LARGE else _FP32_TOLERANCE)
    return solve(precise, l2, rough.to(torch.float64), FINE_TOLERANCE)


def solve_parts(problem: Problem, parts: Sequence[Tensor], l2: float, start: Linear, tolerance: float) -> Linear:
    """Return one layer per part, each solved on its rows alone, all in one run of L-BFGS.

    Args:
        problem: Features and targets of all rows.
        parts: Row numbers of each part.
        l2: Strength of the penalty.
        start: One layer per part.
        tolerance: As for ``solve``.
    """
    if problem.spec.squared_error and isinstance(problem.design, DenseDesign):
        layers = [_ridge(problem.take(part), l2) for part in parts]
        return Linear(torch.stack([layer.weight for layer in layers]), torch.stack([layer.bias for layer in layers]))
    # A single part needs no products for the rows outside it.
    if len(parts) == 1 and len(parts[0]) < problem.design.rows:
        problem, parts = problem.take(parts[0]), [torch.arange(len(parts[0]))]
    with threads(1) as available:
        objective = PackedObjective(problem, parts, l2, start, available)
        return objective.unpack(minimize(objective.value_and_gradient, objective.pack(start), tolerance))


def _ridge(problem: Problem, l2: float) -> Linear:
    """Solve squared error in closed form, in fp64, on centered features."""
    assert isinstance(problem.design, DenseDesign)
    features, targets = problem.design.values.double(), problem.targets.double()
    given = torch.ones_like(targets) if problem.sample_weight is None else problem.sample_weight.double()
    shares = given / given.sum()
    feature_mean, target_mean = shares @ features, shares @ targets
    centered = features - feature_mean
    weighted = centered.T * shares
    gram = weighted @ centered
    gram.diagonal().add_(0.5 * l2 + 1e-12)
    weight = torch.linalg.solve(gram, weighted @ (targets - target_mean))
    bias = target_mean - weight @ feature_mean
    dtype = problem.design.values.dtype
    return Linear(weight.unsqueeze(0).to(dtype), bias.unsqueeze(0).to(dtype))
