"""L-BFGS for several smooth convex problems at once (Liu and Nocedal 1989; Nocedal and Wright 2006, algorithm 7.4).

Problems that share a design, such as the folds of one head, cost one matrix product per step between them. SciPy's
L-BFGS-B would take one at a time, and spends 30 ms a step on its bounds where 100,000 numbers have none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]

_MEMORY = 10
_MOST_STEPS = 1000
_MOST_TRIALS = 25
# Share of the gain that the slope promises with which a step is content (Armijo's condition).
_ENOUGH = 1e-4
# Of the objective at the start: a fit that leaves less than this is as good as perfect.
_PERFECT = 1e-6


def minimise(objective: Objective, start: Tensor, tolerance: float) -> Tensor:
    """Return where each problem's objective is least.

    Args:
        objective: From points (problems, size) to values (problems,) and gradients (problems, size).
        start: Where to begin (problems, size), scaled such that every direction is curved about alike.
        tolerance: A step's gain, relative to the objective, at which a problem counts as solved.
    """
    point = start
    value, gradient = objective(point)
    least = _PERFECT * value.abs()
    history = _History()
    active = torch.ones(len(start), dtype=torch.bool)
    for _ in range(_MOST_STEPS):
        direction = history.direction(gradient)
        slope = (gradient * direction).sum(dim=1)
        moved, new_value, new_gradient = _searched(objective, point, value, slope, direction, active)
        history.add(moved - point, new_gradient - gradient)
        gain = value - new_value
        point, value, gradient = moved, new_value, new_gradient
        active = active & (gain > tolerance * torch.maximum(value, least))
        if not bool(active.any()):
            break
    return point


def _searched(
    objective: Objective, point: Tensor, value: Tensor, slope: Tensor, direction: Tensor, active: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Shorten each problem's step until it gains enough; one that never does, and a solved one, stays in place."""
    step = active.to(point.dtype)
    for _ in range(_MOST_TRIALS):
        moved = point + step.unsqueeze(1) * direction
        new_value, gradient = objective(moved)
        poor = (new_value > value + _ENOUGH * step * slope) & (step > 0)
        if not bool(poor.any()):
            return moved, new_value, gradient
        # The parabola through value, slope and trial has its bottom here.
        bottom = -0.5 * slope * step.square() / (new_value - value - slope * step)
        shorter = torch.where(bottom.isfinite(), bottom, 0.5 * step).clamp(0.1 * step, 0.5 * step)
        step = torch.where(poor, shorter, step)
    step = torch.where(poor, 0.0, step)
    moved = point + step.unsqueeze(1) * direction
    return moved, *objective(moved)


class _History:
    """The last steps and what they did to the gradient."""

    def __init__(self) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=_MEMORY)
        self._scale: Tensor | None = None

    def add(self, step: Tensor, change: Tensor) -> None:
        """Take in a step of every problem; where it saw no curvature, it counts for nothing."""
        curvature = (step * change).sum(dim=1)
        squares = change.square().sum(dim=1)
        seen = curvature > torch.finfo(step.dtype).eps * squares
        scale = torch.where(seen, curvature / squares, 1.0 if self._scale is None else self._scale)
        self._pairs.append((step, change, torch.where(seen, 1 / curvature, 0.0)))
        self._scale = scale

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the quasi-Newton direction of each problem, by the two loops."""
        vector, shares = -gradient, []
        for step, change, inverse in reversed(self._pairs):
            share = inverse * (step * vector).sum(dim=1)
            vector = vector - share.unsqueeze(1) * change
            shares.append(share)
        if self._scale is not None:
            vector = vector * self._scale.unsqueeze(1)
        for (step, change, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            back = inverse * (change * vector).sum(dim=1)
            vector = vector + (share - back).unsqueeze(1) * step
        return vector
