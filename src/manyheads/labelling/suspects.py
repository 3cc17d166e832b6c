"""Labels of one head that are probably wrong: confident learning (Northcutt et al. 2021), through cleanlab."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from manyheads.errors import HeadError, MissingExtraError
from manyheads.heads import HeadSpec, MultiLabel, OneLabelSpec
from manyheads.heads.decision import DEFAULT_THRESHOLD
from manyheads.heads.kinds.shares import most_probable


@dataclass(frozen=True)
class Suspect:
    """One label, or set of labels, that is probably wrong.

    Attributes:
        row: The row's number among the targets.
        given: Positions of the labels in the table.
        suggested: Positions of the labels that the scores favor.
        score: Out-of-fold probability of the given label; the smallest one of the labels in doubt, if there are
            several per row.
    """

    row: int
    given: Sequence[int]
    suggested: Sequence[int]
    score: float


def check_cleanlab() -> None:
    """Check that cleanlab is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if importlib.util.find_spec("cleanlab") is None:
        raise MissingExtraError("Finding label issues needs cleanlab: pip install 'manyheads[evaluate]'")


def has_suspects(spec: HeadSpec) -> bool:
    """Return whether labels of this kind of head can be suspected."""
    return find_suspects.dispatch(type(spec)) is not find_suspects.dispatch(object)


@singledispatch
def find_suspects(spec: HeadSpec, targets: np.ndarray, scores: np.ndarray) -> list[Suspect]:
    """Return the labels that are probably wrong, in the order of their rows.

    Args:
        spec: The head's spec.
        targets: Encoded labels (rows, ...), none missing.
        scores: (rows, labels) probabilities from trainings without each row.

    Raises:
        HeadError: a kind of head without such labels.
    """
    raise HeadError(
        f"{spec.owner}: only labels of Multiclass, Ordinal and MultiLabel heads can be checked; name these with "
        "heads=[...]"
    )


@find_suspects.register
def _one_label(spec: OneLabelSpec, targets: np.ndarray, scores: np.ndarray) -> list[Suspect]:
    from cleanlab.filter import find_label_issues

    given, found = most_probable(targets), scores.astype(np.float64)
    found /= found.sum(axis=1, keepdims=True)
    with _quiet():
        flagged = np.flatnonzero(find_label_issues(given, found, n_jobs=1))
    own = found[np.arange(len(given)), given]
    found[np.arange(len(given)), given] = -1
    best = found.argmax(axis=1)
    return [Suspect(int(at), (int(given[at]),), (int(best[at]),), float(own[at])) for at in flagged]


@find_suspects.register
def _several_labels(spec: MultiLabel, targets: np.ndarray, scores: np.ndarray) -> list[Suspect]:
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    given, found = targets >= DEFAULT_THRESHOLD, scores.astype(np.float64)
    labels = [np.flatnonzero(row).tolist() for row in given]
    with _quiet():
        flagged = np.asarray(find_multilabel_issues_per_class(labels, found, n_jobs=1), dtype=bool)
    own = np.where(given, found, 1 - found)
    worst = np.where(flagged, own, np.inf).min(axis=1)
    suggested = given ^ flagged
    return [
        Suspect(int(at), tuple(labels[at]), tuple(np.flatnonzero(suggested[at]).tolist()), float(worst[at]))
        for at in np.flatnonzero(flagged.any(axis=1))
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence cleanlab's warnings of labels with few rows: cross-fitting has a note on these."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
