"""The solutions of one head along decreasing L2 penalties, compared on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manyheads.deciding.held_out import HeldOut
from manyheads.taps import Tap
from manyheads.training.fit import Alternative
from manyheads.training.solving.calibration import best_scale
from manyheads.training.solving.criterion import Criterion, HeldOutLoss
from manyheads.training.solving.design_of_head import HeadDesign
from manyheads.training.solving.linear import Linear
from manyheads.training.solving.objective import Problem
from manyheads.training.solving.prior import Prior
from manyheads.training.solving.solve import ROUGH_TOLERANCE, solve_parts


@dataclass(frozen=True, eq=False)
class Step:
    """The solution for one penalty.

    Attributes:
        l2: Strength of the penalty.
        prior: The weights towards which it pulls.
        problem: The problem that was solved, on all rows.
        layers: One solution per fold, each without the fold's held-out rows.
        scale: Factor of the logits, see ``calibration.py``.
        label_names: How many of the last rows are names of labels.
        rows: How many rows of a fold were solved, if only a sample of them; else 0.
    """

    l2: float
    prior: Prior
    problem: Problem
    layers: Linear
    scale: float = 1.0
    label_names: int = 0
    rows: int = 0

    @property
    def settings(self) -> dict[str, float]:
        """The strength, and, if there are any, the factor of the logits, the scale of the prior, the number of labels'
        names, and that of the sampled rows.
        """
        found = {"l2": self.l2}
        if self.scale != 1:
            found["scale"] = self.scale
        if self.prior.start is not None:
            found["prior"] = self.prior.scale
        counts = {"label_names": self.label_names, "rows": self.rows}
        return found | {name: float(count) for name, count in counts.items() if count}


def _lowest(places: np.ndarray, values: np.ndarray) -> float:
    """Return the vertex of the parabola through three points, of which the middle one is the lowest."""
    left, right = np.diff(values) / np.diff(places)
    curvature = (right - left) / (places[2] - places[0])
    if curvature == 0:
        return float(places[1])
    return float((places[0] + places[1]) / 2 - left / (2 * curvature))


def _without_logits(problem: Problem, texts: Sequence[Any], rows: Tensor) -> HeldOut:
    weights = problem.weights_of(rows)
    return HeldOut(
        logits=np.empty((0, problem.spec.outputs), dtype=np.float32),
        targets=problem.targets[rows].numpy(),
        texts=[texts[row] for row in rows.tolist()],
        weights=None if weights is None else weights.numpy(),
    )


class RegularizationPath:
    """The steps of one head on one set of taps, and the best of them.

    Args:
        taps: The head's taps.
        design: The head's design matrix.
        problem: The problem without a prior, on all rows.
        texts: The text of each row.
        held_out: Held-out rows of each fold.
        calibrates: Whether the logits of each step are scaled to the least held-out loss.
        criterion: By what the steps are compared.
        sampled: Whether the steps are solved on a sample of the rows.

    Attributes:
        alternatives: One record per step.
        best: The best step, or ``None`` before the first one.
    """

    def __init__(
        self,
        taps: tuple[Tap, ...],
        design: HeadDesign,
        problem: Problem,
        texts: Sequence[Any],
        held_out: Sequence[Tensor],
        calibrates: bool = False,
        criterion: Criterion | None = None,
        sampled: bool = False,
    ) -> None:
        self.taps, self.design, self.problem = taps, design, problem
        self.calibrates, self.sampled = calibrates, sampled
        self.criterion = HeldOutLoss() if criterion is None else criterion
        self.alternatives: list[Alternative] = []
        self.best: Step | None = None
        self._texts, self._held_out = texts, list(held_out)
        self._compared = _without_logits(problem, texts, torch.cat(self._held_out))
        self._best_logits: list[Tensor] = []

    def without_steps(self) -> RegularizationPath:
        """Return a path on the same taps and rows, whose steps are still to be solved, on all rows."""
        held_out, texts = self._held_out, self._texts
        return RegularizationPath(
            self.taps, self.design, self.problem, texts, held_out, self.calibrates, self.criterion
        )

    def add(self, step: Step) -> tuple[float, float]:
        """Add a step; return its mean loss over the folds' held-out rows, and what compares it with other steps."""
        spec, weights = self.problem.spec, self.problem.class_weights
        folds = [step.problem.take(rows).logits(step.layers[fold]) for fold, rows in enumerate(self._held_out)]
        rows = torch.cat(self._held_out)
        logits, targets, by_row = torch.cat(folds).double(), self.problem.targets[rows], self.problem.weights_of(rows)
        if self.calibrates:
            step = replace(step, scale=best_scale(spec, logits, targets, weights, by_row))
        loss = float(spec.loss(step.scale * logits, targets, weights, by_row).mean)
        scaled = [step.scale * fold for fold in folds]
        value = self.criterion.value(spec, replace(self._compared, logits=torch.cat(scaled).numpy()), loss)
        if all(value < alternative.loss for alternative in self.alternatives):
            self.best, self._best_logits = step, scaled
        self.alternatives.append(Alternative(self.taps, step.settings, value, self.criterion.by))
        return loss, value

    @property
    def held_out(self) -> HeldOut:
        """The rows on which the steps are compared, with the best step's logits, fold by fold."""
        return replace(self._compared, logits=torch.cat(self._best_logits).numpy())

    @property
    def refined(self) -> Step:
        """The best step with the penalty for all rows: between the penalties of the path, where a parabola through the
        best one and its neighbors is least, times the share of the rows that a fold trains on. So the penalty of the
        summed loss is that of the folds, as with ``C`` of scikit-learn's ``LogisticRegressionCV``.
        """
        assert self.best is not None, "the path has no step"
        prior = self.best.settings.get("prior")
        alike = [step for step in self.alternatives if step.settings.get("prior") == prior]
        alike.sort(key=lambda step: step.settings["l2"])
        place = [step.settings["l2"] for step in alike].index(self.best.l2)
        around = alike[max(place - 1, 0) : place + 2]
        exponents = np.log([step.settings["l2"] for step in around])
        wanted = math.log(self.best.l2)
        if len(around) == 3:
            wanted = _lowest(exponents, np.array([step.loss for step in around]))
        held_out = len(self._held_out[0]) / self.problem.design.rows
        wanted += math.log(1 - held_out)
        scales = np.log([step.settings.get("scale", 1.0) for step in around])
        order = np.argsort(exponents)
        scale = math.exp(np.interp(wanted, exponents[order], scales[order]))
        return replace(self.best, l2=math.exp(wanted), scale=scale)

    def hold_out(self, kept: Sequence[Tensor], held_out: Sequence[Tensor]) -> None:
        """Add the best step's logits of further folds to ``out_of_fold``.

        Args:
            kept: Training rows of each further fold.
            held_out: Their held-out rows.
        """
        best = self.best
        if best is None or not kept:
            return
        layers = solve_parts(best.problem, kept, best.l2, best.layers.mean().repeated(len(kept)), ROUGH_TOLERANCE)
        for fold, rows in enumerate(held_out):
            self._held_out.append(rows)
            self._best_logits.append(best.scale * best.problem.take(rows).logits(layers[fold]))

    @property
    def out_of_fold(self) -> np.ndarray:
        """The best step's logits (rows, outputs) fp32, each row's from a layer that was fitted without it; NaN for rows
        that no fold holds out.
        """
        logits = np.full((self.problem.design.rows, self.problem.spec.outputs), np.nan, dtype=np.float32)
        for rows, fold_logits in zip(self._held_out, self._best_logits, strict=True):
            logits[rows.numpy()] = fold_logits.numpy()
        return logits
