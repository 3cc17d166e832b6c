"""Solve a linear head on several sets of taps, and choose the simplest set that is about as good as the best, or the
largest one where all were solved on a sample. The names of its labels are further rows where these help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from manyheads.heads import Head
from manyheads.training.fit import FitResult
from manyheads.training.searching.comparison import largest_near_best, margin, simplest_near_best
from manyheads.training.solving.head_rows import HeadTrainingSet
from manyheads.training.solving.linear_fit import LinearFitter
from manyheads.training.solving.regularization_path import RegularizationPath

WithNames = Callable[[Head], HeadTrainingSet]


def fit_simplest(
    fitter: LinearFitter, alternatives: Sequence[tuple[Head, HeadTrainingSet]], with_names: WithNames | None = None
) -> tuple[FitResult, Head]:
    """Solve the regularization path of every alternative, then solve the chosen one on all rows.

    Args:
        fitter: Solves one alternative.
        alternatives: A fresh head and its training set per set of taps, the simplest first.
        with_names: Returns a head's training set with the names of labels after its rows, which are used where they
            make the error on held-out rows smaller by more than its standard error; ``None`` to do without.

    Returns:
        The fit and the head it belongs to, whose weights are unchanged.
    """
    paths: list[RegularizationPath] = []
    for head, training_set in alternatives:
        paths.append(fitter.path(head, training_set, paths[-1] if paths else None))
    errors = [fitter.criterion.errors(path.problem.spec, path.held_out) for path in paths]
    chosen = largest_near_best(errors) if paths[0].sampled else simplest_near_best(errors)
    head, training_set = alternatives[chosen]
    path = paths[chosen]
    if with_names is not None:
        named = with_names(head)
        paths.append(fitter.path(head, named, path))
        errors.append(fitter.criterion.errors(path.problem.spec, paths[-1].held_out))
        gain, error = margin(errors[chosen], errors[-1])
        if gain > error:
            training_set, path = named, paths[-1]
    if path.sampled:
        path = fitter.on_all_rows(path, training_set)
        paths.append(path)
        errors.append(fitter.criterion.errors(path.problem.spec, path.held_out))
    best = min(errors, key=lambda one: float(one.mean()))
    records = [
        replace(record, error=margin(path_errors, best)[1])
        for solved, path_errors in zip(paths, errors, strict=True)
        for record in solved.alternatives
    ]
    return replace(fitter.finish(head, training_set, path), alternatives=records), head
