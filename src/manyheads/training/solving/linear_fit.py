"""Fit a linear head on stored features: choose the L2 penalty on held-out rows, then solve on all rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from manyheads.heads import Head, HeadSpec
from manyheads.training.fit import FitResult
from manyheads.training.solving.criterion import Criterion, HeldOutLoss
from manyheads.training.solving.design_of_head import design_of
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.prior import PRIOR_SCALES, LMHeadStart, Prior
from manyheads.training.solving.regularization_path import RegularizationPath, Step
from manyheads.training.solving.solve import ROUGH_TOLERANCE, solve_parts, solve_refined

# Strong to weak, each solution the start of the next.
L2_PATH = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003, 0.00001)
# The path ends once this many penalties in a row have a larger held-out loss than the best one, or one has a clearly
# larger loss.
_PATIENCE = 2
_CLEARLY_WORSE = 1.005


# Items of a fold from which on the path is first solved on a quarter of them, which says where the best penalty is. On
# all items the path then starts there: strong penalties, which the path passes through, are most of its time.
_MANY_ITEMS = 16_000
_SAMPLE_SHARE = 0.25


@dataclass(frozen=True)
class LinearFitter:
    """Fits one linear head.

    Args:
        l2: Strength of the penalty; ``None`` chooses it on held-out rows.
        criterion: By what it is chosen.
    """

    l2: float | None = None
    criterion: Criterion = field(default_factory=HeldOutLoss)

    def path(
        self, head: Head, training_set: HeadTrainingSet, before: RegularizationPath | None = None
    ) -> RegularizationPath:
        """Solve each fold for penalties from strong to weak, until the held-out rows are predicted worse. A head that
        starts from the LM head has one path per scale of that start, zero among them. With many items, a sample of each
        fold's is solved; see ``on_all_rows``.

        Args:
            head: A head of one linear layer; not changed.
            training_set: Its labelled training rows.
            before: A path of the same head on other features: this one starts near its best penalty.
        """
        design = design_of(head, training_set)
        targets = torch.from_numpy(training_set.targets)
        problem = Problem(
            head.spec, design.design, targets, training_set.class_weights, sample_weight=training_set.sample_weight
        )
        kept, held_out = _folds(training_set, self._compared_folds(training_set))
        sample = _sampled(kept, training_set.seed) if self.l2 is None else None
        path = RegularizationPath(
            head.taps,
            design,
            problem,
            training_set.texts,
            held_out,
            calibrates=head.spec.has_labels and self.l2 is None,
            criterion=self.criterion,
            sampled=sample is not None,
        )
        start = LMHeadStart.of(head, training_set) if head.spec.init == "lm_head" else None
        for scale in PRIOR_SCALES if start is not None else (0.0,):
            logits = start.scaled_logits(scale) if start is not None and scale else None
            first = Step(1.0, Prior(start, scale), replace(problem, prior=logits), _zeros(problem, len(kept)))
            first = replace(first, label_names=training_set.label_names, rows=0 if sample is None else len(sample[0]))
            rows = kept if sample is None else sample
            if self.l2 is not None:
                self._extend(path, first, rows, (self.l2,))
            elif start is None and before is not None and before.best is not None:
                self._walk(path, first, rows, max(L2_PATH.index(before.best.l2) - 1, 0))
            else:
                self._extend(path, first, rows, L2_PATH)
        return path

    def on_all_rows(self, sampled: RegularizationPath, training_set: HeadTrainingSet) -> RegularizationPath:
        """Return the path on all items from the best step of one that was solved on a sample."""
        kept, _ = _folds(training_set, self._compared_folds(training_set))
        best = sampled.best
        assert best is not None, "the path has no step"
        path = sampled.without_steps()
        self._walk(path, replace(best, rows=0, scale=1.0), kept, L2_PATH.index(best.l2))
        return path

    def _walk(self, path: RegularizationPath, first: Step, kept: Sequence[Tensor], place: int) -> None:
        """Add steps from a penalty in the middle of the path to weaker ones, then to stronger ones as long as these are
        the best.
        """
        self._extend(path, first, kept, L2_PATH[place:])
        while place and path.best is not None and path.best.l2 == L2_PATH[place]:
            place -= 1
            self._extend(path, path.best, kept, (L2_PATH[place],))

    def finish(self, head: Head, training_set: HeadTrainingSet, path: RegularizationPath) -> FitResult:
        """Solve with the best penalty on all rows, and return the head's new weights; a given penalty is kept."""
        if training_set.hold_out_all:
            compared = self._compared_folds(training_set)
            others = [fold for fold in training_set.all_folds if fold not in compared]
            path.hold_out(*_folds(training_set, others))
        assert path.best is not None, "the path has no step"
        best = path.best if self.l2 is not None else path.refined
        solved = solve_refined(best.problem, best.l2, best.layers.mean())
        layer = best.prior.added_to(path.design.folded(solved)).times(best.scale)
        state = head.state_dict() | {"output.weight": layer.weight.float(), "output.bias": layer.bias.float()}
        return FitResult(state, best.settings, path.alternatives, [], path.out_of_fold[: training_set.own_rows])

    def _compared_folds(self, training_set: HeadTrainingSet) -> list[int]:
        return training_set.all_folds if self.criterion.needs_all_folds else training_set.compared_folds

    def _extend(
        self, path: RegularizationPath, first: Step, kept: Sequence[Tensor], penalties: Sequence[float]
    ) -> None:
        """Add a step per penalty, each solved from the layers of the one before, at first from those of ``first``."""
        step, losses, values = first, list[float](), list[float]()
        for l2 in penalties:
            step = replace(step, l2=l2, layers=solve_parts(step.problem, kept, l2, step.layers, ROUGH_TOLERANCE))
            loss, value = path.add(step)
            losses.append(loss)
            values.append(value)
            # A metric alone is too noisy to end the path.
            if _is_past_minimum(losses) and _is_past_minimum(values):
                break


def _zeros(problem: Problem, count: int) -> Linear:
    """Return so many layers of zeros, with the biases of the targets."""
    layer = Linear.zeros(problem.spec.outputs, problem.design.width, _dtype(problem.spec))
    layer.bias.fill_(problem.spec.initial_bias(problem.targets.numpy()))
    return layer.repeated(count)


def _sampled(kept: Sequence[Tensor], seed: int) -> list[Tensor] | None:
    """Return a quarter of each fold's rows, or ``None`` if they are not many."""
    if len(kept[0]) < _MANY_ITEMS:
        return None
    draw = np.random.default_rng(seed)
    orders = [draw.permutation(len(rows))[: round(_SAMPLE_SHARE * len(rows))] for rows in kept]
    return [rows[torch.from_numpy(np.sort(order))] for rows, order in zip(kept, orders, strict=True)]


def _is_past_minimum(losses: list[float]) -> bool:
    best = min(losses)
    return losses[-1] > _CLEARLY_WORSE * best or all(loss > best for loss in losses[-_PATIENCE:])


def _dtype(spec: HeadSpec) -> torch.dtype:
    """Return the dtype of the solution: squared error overflows fp32 for targets that fp32 can still represent."""
    return torch.float64 if spec.squared_error else torch.float32


def _folds(training_set: HeadTrainingSet, numbers: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the training rows and the held-out rows of each of these folds."""
    kept = [torch.from_numpy(np.flatnonzero(training_set.folds != number)) for number in numbers]
    held_out = [torch.from_numpy(np.flatnonzero(training_set.folds == number)) for number in numbers]
    return kept, held_out
