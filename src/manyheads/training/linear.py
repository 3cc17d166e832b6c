"""Fit a linear head on stored features: choose L2 on held-out rows, then solve on all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from manyheads.heads import Head, Regression
from manyheads.taps import Tap
from manyheads.training.blocks import Posed, pose
from manyheads.training.rows import HeadRows
from manyheads.training.solver import FINE, L2_PATH, ROUGH, Linear, Problem, solve, solve_parts
from manyheads.training.trial import Fit, Trial

# The rest of the path is not walked once this many weaker penalties in a row are worse on held-out rows, or one is
# clearly.
_PATIENCE = 2
_CLEARLY = 1.005
# Gain at which fp32 alone cannot tell better from worse any more.
_FINE_IN_FP32 = 1e-6
# Multiplications per evaluation above which last digits cost more than they are worth: fp32 comes within 1e-5.
_LARGE = 100_000_000


@dataclass(frozen=True)
class LinearFitter:
    """Fits one linear head.

    Args:
        l2: The penalty's strength; ``None`` chooses it on held-out rows.
    """

    l2: float | None = None

    def walk(self, head: Head, rows: HeadRows) -> Walk:
        """Try penalties from strong to weak, the mean held-out loss over folds as the guide.

        Args:
            head: A head of one linear layer; not changed.
            rows: Its labelled training rows.
        """
        posed = pose(head, rows)
        problem = Problem(head.spec, posed.design, torch.from_numpy(rows.targets), rows.class_weights)
        parts, held_out = _parts(rows)
        walk = Walk(head.taps, posed, problem, held_out)
        layers = Linear.zeros(head.spec.outputs, problem.design.width, _dtype(head)).repeated(len(parts))
        for l2 in L2_PATH if self.l2 is None else (self.l2,):
            layers = solve_parts(problem, parts, l2, layers, ROUGH)
            walk.see(Step(l2, layers, _held_out_logits(problem, held_out, layers)))
            if walk.hopeless:
                break
        return walk

    def finish(self, head: Head, walk: Walk) -> Fit:
        """Return a head's new weights: its best penalty, solved on all rows."""
        layer = polished(walk.problem, walk.best.l2, walk.best.layers.mean())
        folded = walk.posed.folded(layer)
        state = head.state_dict() | {"output.weight": folded.weight.float(), "output.bias": folded.bias.float()}
        return Fit(state, {"l2": walk.best.l2}, walk.trials, [], walk.out_of_fold)


@dataclass(frozen=True, eq=False)
class Step:
    """One penalty of a walk.

    Attributes:
        l2: Its strength.
        layers: One per fold.
        logits: Of each fold's held-out rows, by the layer that did not see them.
    """

    l2: float
    layers: Linear
    logits: list[Tensor]


class Walk:
    """A walk along the penalties.

    Attributes:
        taps: What the head reads in it.
        posed: The head's features as the solver takes them.
        problem: What was solved.
        trials: What was tried.
        best: The step with the least held-out loss.
    """

    def __init__(self, taps: tuple[Tap, ...], posed: Posed, problem: Problem, held_out: list[Tensor]) -> None:
        self.taps, self.posed, self.problem = taps, posed, problem
        self._held_out = held_out
        self.trials: list[Trial] = []
        self.best = Step(math.nan, Linear.zeros(0, 0), [])

    def see(self, step: Step) -> None:
        """Take in a step."""
        spec, targets = self.problem.spec, self.problem.targets
        losses = [
            float(spec.loss(logits.double(), targets[part], self.problem.class_weights).mean)
            for logits, part in zip(step.logits, self._held_out, strict=True)
        ]
        loss = float(np.mean(losses))
        if all(loss < trial.loss for trial in self.trials):
            self.best = step
        self.trials.append(Trial(self.taps, {"l2": step.l2}, loss))

    @property
    def out_of_fold(self) -> np.ndarray:
        """The best step's logits (rows, outputs) fp32 of rows that its layers did not see; NaN for the others."""
        logits = np.full((self.problem.design.rows, self.problem.spec.outputs), np.nan, dtype=np.float32)
        for part, values in zip(self._held_out, self.best.logits, strict=True):
            logits[part.numpy()] = values.numpy()
        return logits

    @property
    def hopeless(self) -> bool:
        """Whether the weaker penalties have only become worse for a while."""
        best = min(trial.loss for trial in self.trials)
        clearly = self.trials[-1].loss > _CLEARLY * best
        return clearly or all(trial.loss > best for trial in self.trials[-_PATIENCE:])


def _dtype(head: Head) -> torch.dtype:
    """Return what its loss is computed in: the square of a number in fp32 may not be one any more."""
    return torch.float64 if isinstance(head.spec, Regression) else torch.float32


def _parts(rows: HeadRows) -> tuple[list[Tensor], list[Tensor]]:
    """Return each fold's training rows and held-out rows."""
    numbers = np.unique(rows.folds[rows.folds >= 0])
    kept = [torch.from_numpy(np.flatnonzero(rows.folds != number)) for number in numbers]
    held_out = [torch.from_numpy(np.flatnonzero(rows.folds == number)) for number in numbers]
    return kept, held_out


def _held_out_logits(problem: Problem, held_out: list[Tensor], layers: Linear) -> list[Tensor]:
    return [problem.rows(part).outputs(layers[place]) for place, part in enumerate(held_out)]


def polished(problem: Problem, l2: float, start: Linear) -> Linear:
    """Solve in fp32, then, where that is cheap, in fp64 from there: most steps are taken at half the price."""
    rough = solve(problem, l2, start, ROUGH)
    large = problem.design.rows * problem.design.width * problem.spec.outputs > _LARGE
    precise = problem if large and not isinstance(problem.spec, Regression) else problem.precise()
    if precise.design is problem.design:
        return solve(problem, l2, rough, _FINE_IN_FP32)
    return solve(precise, l2, rough.to(torch.float64), FINE)
