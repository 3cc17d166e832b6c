"""Solve a linear head on several sets of taps, and choose the simplest set that is about as good as the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from manyheads.heads import Head
from manyheads.training.fit import FitResult
from manyheads.training.searching.comparison import margin, simplest_near_best
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.linear_fit import LinearFitter


def fit_simplest(fitter: LinearFitter, alternatives: Sequence[tuple[Head, HeadTrainingSet]]) -> tuple[FitResult, Head]:
    """Solve the regularization path of every alternative, then solve the chosen one on all rows.

    Args:
        fitter: Solves one alternative.
        alternatives: A fresh head and its training set per set of taps, the simplest first.

    Returns:
        The fit and the head it belongs to, whose weights are unchanged.
    """
    paths = [fitter.path(head, training_set) for head, training_set in alternatives]
    errors = [fitter.criterion.errors(path.problem.spec, path.held_out) for path in paths]
    chosen = simplest_near_best(errors)
    best = min(errors, key=lambda one: float(one.mean()))
    records = [
        replace(record, error=margin(path_errors, best)[1])
        for path, path_errors in zip(paths, errors, strict=True)
        for record in path.alternatives
    ]
    head, training_set = alternatives[chosen]
    return replace(fitter.finish(head, training_set, paths[chosen]), alternatives=records), head
