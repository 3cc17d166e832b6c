"""L-BFGS for several smooth convex problems at once (Liu and Nocedal 1989; Nocedal and Wright 2006, algorithm 7.4).

Problems that share a design matrix, such as the folds of one head, share one matrix product per step. SciPy's L-BFGS-B
solves one problem at a time, and its handling of bounds takes 30 ms a step for 100,000 unbounded parameters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

# From points (problems, size) to values (problems,) and gradients (problems, size).
Objective = Callable[[Tensor], tuple[Tensor, Tensor]]

_MEMORY = 10
_MAX_STEPS = 1000
_MAX_TRIALS = 25
# Sufficient decrease: share of the gain that the slope predicts (Armijo's condition).
_SUFFICIENT_DECREASE = 1e-4
# Share of the objective at the start below which a fit counts as perfect.
_PERFECT = 1e-6


def minimize(objective: Objective, start: Tensor, tolerance: float) -> Tensor:
    """Return the point (problems, size) at which each problem's objective is least.

    Args:
        objective: Returns the values and gradients of all problems.
        start: Initial points (problems, size), scaled such that all directions have about the same curvature.
        tolerance: Gain of a step, relative to the objective, at which a problem counts as solved.
    """
    point = start
    value, gradient = objective(point)
    floor = _PERFECT * value.abs()
    history = _History()
    active = torch.ones(len(start), dtype=torch.bool)
    for _ in range(_MAX_STEPS):
        direction = history.direction(gradient)
        slope = (gradient * direction).sum(dim=1)
        new_point, new_value, new_gradient = _line_search(objective, point, value, slope, direction, active)
        history.add(new_point - point, new_gradient - gradient)
        gain = value - new_value
        point, value, gradient = new_point, new_value, new_gradient
        active = active & (gain > tolerance * torch.maximum(value, floor))
        if not bool(active.any()):
            break
    return point


def _line_search(
    objective: Objective, point: Tensor, value: Tensor, slope: Tensor, direction: Tensor, active: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return new points, values and gradients after backtracking; a problem that is solved, or whose step never gains
    enough, keeps its point.
    """
    step = active.to(point.dtype)
    for _ in range(_MAX_TRIALS):
        new_point = point + step.unsqueeze(1) * direction
        new_value, gradient = objective(new_point)
        poor = (new_value > value + _SUFFICIENT_DECREASE * step * slope) & (step > 0)
        if not bool(poor.any()):
            return new_point, new_value, gradient
        # Minimum of the parabola through the value, the slope and the trial value.
        minimum = -0.5 * slope * step.square() / (new_value - value - slope * step)
        shorter = torch.where(minimum.isfinite(), minimum, 0.5 * step).clamp(0.1 * step, 0.5 * step)
        step = torch.where(poor, shorter, step)
    step = torch.where(poor, 0.0, step)
    new_point = point + step.unsqueeze(1) * direction
    return new_point, *objective(new_point)


class _History:
    """The last steps and the changes of the gradient along them."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_MEMORY)
        self._scale: Tensor | None = None

    def add(self, step: Tensor, change: Tensor) -> None:
        """Add one step of every problem; a step without positive curvature has no effect."""
        curvature = (step * change).sum(dim=1)
        squares = change.square().sum(dim=1)
        curved = curvature > torch.finfo(step.dtype).eps * squares
        scale = torch.where(curved, curvature / squares, 1.0 if self._scale is None else self._scale)
        self._pairs.append((step, change, torch.where(curved, 1 / curvature, 0.0)))
        self._scale = scale

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the quasi-Newton direction of each problem by the two-loop recursion."""
        vector, alphas = -gradient, []
        for step, change, inverse in reversed(self._pairs):
            alpha = inverse * (step * vector).sum(dim=1)
            vector = vector - alpha.unsqueeze(1) * change
            alphas.append(alpha)
        if self._scale is not None:
            vector = vector * self._scale.unsqueeze(1)
        for (step, change, inverse), alpha in zip(self._pairs, reversed(alphas), strict=True):
            beta = inverse * (change * vector).sum(dim=1)
            vector = vector + (alpha - beta).unsqueeze(1) * step
        return vector
