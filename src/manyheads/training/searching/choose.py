"""Solve a linear head on several sets of taps, and keep the simplest that is about as good as the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from manyheads.heads import Head
from manyheads.training.fit import FitResult
from manyheads.training.searching.screening import margin, simplest_near_best, spread
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.linear_fit import LinearFitter
from manyheads.training.solving.regularization_path import RegularizationPath


def fit_simplest(fitter: LinearFitter, ready: Sequence[tuple[Head, HeadTrainingSet]]) -> tuple[FitResult, Head]:
    """Walk every alternative on held-out rows, then solve the chosen one on all of them.

    Args:
        fitter: How a walk goes.
        ready: Alternatives of one head, the simplest first: a fresh head on its taps, and its rows.
    """
    walks = [fitter.path(head, rows) for head, rows in ready]
    errors = [_held_out_errors(path) for path in walks]
    chosen = simplest_near_best(errors)
    best = min(errors, key=lambda one: float(one.mean()))
    alternatives = [
        replace(alternative, error=margin(one, best)[1])
        for path, one in zip(walks, errors, strict=True)
        for alternative in path.alternatives
    ]
    head, _ = ready[chosen]
    return replace(fitter.finish(head, walks[chosen]), alternatives=alternatives), head


def _held_out_errors(path: RegularizationPath) -> np.ndarray:
    """Return squared errors of the scores (held-out rows,), summed over them (the Brier score of classes), as a
    share of what knowing no text would leave on average."""
    spec, logits = path.problem.spec, path.out_of_fold
    seen = ~np.isnan(logits[:, 0])
    targets = spec.target_scores(path.problem.targets.numpy()[seen]).astype(np.float64)
    errors: np.ndarray = np.nansum((spec.scores(logits[seen]) - targets) ** 2, axis=1) / spread(targets)
    return errors
