"""Fit a linear head on stored features: choose L2 on held-out rows, then solve on all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from manyheads.heads import Head, HeadSpec, Regression
from manyheads.taps import Tap
from manyheads.training.fit import Alternative, HeadFit
from manyheads.training.solving.design_of_head import HeadDesign, design_of
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.objective import FINE, L2_PATH, ROUGH, Linear, Problem, solve, solve_parts
from manyheads.training.solving.prior import SCALES, LMHeadStart, Prior

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

    def path(self, head: Head, rows: HeadTrainingSet) -> RegularizationPath:
        """Try penalties from strong to weak, the mean held-out loss over folds as the guide; where the head starts from
        the LM head, with that start at several scales, zero among them.

        Args:
            head: A head of one linear layer; not changed.
            rows: Its labelled training rows.
        """
        posed = design_of(head, rows)
        problem = Problem(head.spec, posed.design, torch.from_numpy(rows.targets), rows.class_weights)
        parts, held_out = _parts(rows)
        path = RegularizationPath(head.taps, posed, problem, held_out)
        start = LMHeadStart.of(head, rows) if head.spec.init == "lm_head" else None
        for scale in SCALES if start is not None else (0.0,):
            pulled = replace(problem, prior=start.outputs(scale)) if start is not None and scale else problem
            self._path(path, pulled, parts, Prior(start, scale))
        return path

    def _path(self, path: RegularizationPath, problem: Problem, parts: list[Tensor], prior: Prior) -> None:
        layers = Linear.zeros(problem.spec.outputs, problem.design.width, _dtype(problem.spec)).repeated(len(parts))
        losses: list[float] = []
        for l2 in L2_PATH if self.l2 is None else (self.l2,):
            layers = solve_parts(problem, parts, l2, layers, ROUGH)
            losses.append(path.see(Step(l2, prior, problem, layers)))
            if _hopeless(losses):
                break

    def finish(self, head: Head, path: RegularizationPath) -> HeadFit:
        """Return a head's new weights: its best penalty, solved on all rows."""
        best = path.best
        layer = best.prior.added(path.posed.folded(polished(best.problem, best.l2, best.layers.mean())))
        state = head.state_dict() | {"output.weight": layer.weight.float(), "output.bias": layer.bias.float()}
        return HeadFit(state, best.settings, path.alternatives, [], path.out_of_fold)


@dataclass(frozen=True, eq=False)
class Step:
    """One penalty of a walk.

    Attributes:
        l2: Its strength.
        pull: Where it pulls to.
        problem: What was solved.
        layers: One per fold.
    """

    l2: float
    prior: Prior
    problem: Problem
    layers: Linear

    @property
    def settings(self) -> dict[str, float]:
        """The penalty's strength and, where the head starts from the LM head, at what scale."""
        return {"l2": self.l2} if self.prior.start is None else {"l2": self.l2, "prior": self.prior.scale}


class RegularizationPath:
    """A walk along the penalties.

    Attributes:
        taps: What the head reads in it.
        posed: The head's features as the solver takes them.
        problem: What is to be solved.
        trials: What was tried.
        best: The step with the least held-out loss.
    """

    def __init__(self, taps: tuple[Tap, ...], posed: HeadDesign, problem: Problem, held_out: list[Tensor]) -> None:
        self.taps, self.posed, self.problem = taps, posed, problem
        self._held_out = held_out
        self._logits: list[Tensor] = []
        self.alternatives: list[Alternative] = []
        self.best = Step(math.nan, Prior(), problem, Linear.zeros(0, 0))

    def see(self, step: Step) -> float:
        """Take in a step, and return its mean loss on the held-out rows."""
        spec, targets = self.problem.spec, self.problem.targets
        found = _held_out_logits(step.problem, self._held_out, step.layers)
        losses = [
            float(spec.loss(logits.double(), targets[part], self.problem.class_weights).mean)
            for logits, part in zip(found, self._held_out, strict=True)
        ]
        loss = float(np.mean(losses))
        if all(loss < alternative.loss for alternative in self.alternatives):
            self.best, self._logits = step, found
        self.alternatives.append(Alternative(self.taps, step.settings, loss))
        return loss

    @property
    def out_of_fold(self) -> np.ndarray:
        """The best step's logits (rows, outputs) fp32 of rows that its layers did not see; NaN for the others."""
        logits = np.full((self.problem.design.rows, self.problem.spec.outputs), np.nan, dtype=np.float32)
        for part, values in zip(self._held_out, self._logits, strict=True):
            logits[part.numpy()] = values.numpy()
        return logits


def _hopeless(losses: list[float]) -> bool:
    """Tell whether the weaker penalties of a path have only become worse for a while."""
    best = min(losses)
    return losses[-1] > _CLEARLY * best or all(loss > best for loss in losses[-_PATIENCE:])


def _dtype(spec: HeadSpec) -> torch.dtype:
    """Return what its loss is computed in: the square of a number in fp32 may not be one any more."""
    return torch.float64 if isinstance(spec, Regression) else torch.float32


def _parts(rows: HeadTrainingSet) -> tuple[list[Tensor], list[Tensor]]:
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
