"""Solve a linear head on several sets of taps, and choose the simplest set that is about as good as the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.special import log_softmax

from manyheads.heads import Head
from manyheads.training.fit import FitResult
from manyheads.training.searching.comparison import entropy, margin, simplest_near_best, spread
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.linear_fit import LinearFitter
from manyheads.training.solving.regularization_path import RegularizationPath


def fit_simplest(fitter: LinearFitter, alternatives: Sequence[tuple[Head, HeadTrainingSet]]) -> tuple[FitResult, Head]:
    """Solve the regularization path of every alternative, then solve the chosen one on all rows.

    Args:
        fitter: Solves one alternative.
        alternatives: A fresh head and its training set per set of taps, the simplest first.

    Returns:
        The fit and the head it belongs to, whose weights are unchanged.
    """
    paths = [fitter.path(head, training_set) for head, training_set in alternatives]
    errors = [_held_out_errors(path) for path in paths]
    chosen = simplest_near_best(errors)
    best = min(errors, key=lambda one: float(one.mean()))
    records = [
        replace(record, error=margin(path_errors, best)[1])
        for path, path_errors in zip(paths, errors, strict=True)
        for record in path.alternatives
    ]
    head, training_set = alternatives[chosen]
    return replace(fitter.finish(head, training_set, paths[chosen]), alternatives=records), head


def _held_out_errors(path: RegularizationPath) -> np.ndarray:
    """Return the errors on held-out rows (rows,): for classes, log losses as a share of the classes' entropy; else
    squared errors, summed over the scores, as a share of the variance. A row with a weight counts with it.
    """
    spec, logits = path.problem.spec, path.out_of_fold
    held_out = ~np.isnan(logits[:, 0])
    target_scores = spec.target_scores(path.problem.targets.numpy()[held_out]).astype(np.float64)
    errors: np.ndarray
    if spec.has_classes:
        log_probabilities = log_softmax(logits[held_out].astype(np.float64), axis=1)
        errors = -(target_scores * log_probabilities).sum(axis=1) / entropy(target_scores)
    else:
        residuals = spec.raw_scores(logits[held_out]) - target_scores
        errors = np.nansum(residuals**2, axis=1) / spread(target_scores)
    weights = path.problem.weights_of(torch.from_numpy(held_out))
    return errors if weights is None else errors * (weights / weights.mean()).numpy()
