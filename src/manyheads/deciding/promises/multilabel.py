"""Fit the thresholds of a head with several labels per text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from manyheads.deciding.promises.decision_fit import DecisionFit
from manyheads.deciding.promises.label_thresholds import RULES
from manyheads.deciding.thresholds import MIN_POSITIVES, best_thresholds
from manyheads.errors import DataError, counted
from manyheads.heads import Decision, MultiLabel
from manyheads.heads.decision import DEFAULT_THRESHOLD


def fit_multilabel(
    spec: MultiLabel,
    targets: np.ndarray,
    logits: np.ndarray,
    decision: Decision,
    goal: str | Mapping[str, float],
    head: str,
    source: str,
) -> DecisionFit:
    """Return a decision with fitted thresholds.

    Args:
        spec: The head's spec.
        targets: Probabilities (rows, labels), without NaN.
        logits: fp32 (rows, labels).
        decision: The head's decision.
        goal: ``"f1"``, ``{"precision": share}`` or ``{"recall": share}``.
        head: The head's name.
        source: The table's name.

    Raises:
        DataError: too few rows with any label, or none of the labels reaches the goal.
    """
    scores, positives = spec.scores(logits, decision), targets >= DEFAULT_THRESHOLD
    fitted = _fitted(scores, positives, goal, f"{source}: head {head!r}")
    before = decision.thresholds or [DEFAULT_THRESHOLD] * len(fitted)
    found = [old if new is None else new for old, new in zip(before, fitted, strict=True)]
    decision = replace(decision, thresholds=found)
    kept = {label: int(count) for label, count, new in zip(spec.labels, positives.sum(axis=0), fitted, strict=True)
            if new is None}  # fmt: skip
    measures = _measures(positives, spec.chosen(scores, decision))
    return DecisionFit(head, decision, len(scores), (_promise(goal),), measures, notes=_kept_note(kept))


def _fitted(
    scores: np.ndarray, positives: np.ndarray, goal: str | Mapping[str, float], owner: str
) -> list[float | None]:
    """Return the threshold of each label, ``None`` where none is known to reach the goal."""
    if isinstance(goal, str):
        if positives.sum() < MIN_POSITIVES:
            raise DataError(
                f"{owner}: thresholds='f1' needs at least {MIN_POSITIVES} labels in all rows, got {positives.sum()}; "
                "add rows"
            )
        return list(best_thresholds(scores, positives).tolist())
    ((name, share),) = goal.items()
    fitted = [RULES[name](*columns, share) for columns in zip(scores.T, positives.T, strict=True)]
    if all(threshold is None for threshold in fitted):
        raise DataError(
            f"{owner}: no threshold of any label is known to reach a {name} of {share:g}; add rows, or ask for less"
        )
    return fitted


def _promise(goal: str | Mapping[str, float]) -> str:
    if isinstance(goal, str):
        return "The thresholds are those with the largest F1 on these rows."
    ((name, share),) = goal.items()
    return f"Each label has a {name} of at least {share:.4g}, on average."


def _kept_note(kept: Mapping[object, int]) -> tuple[str, ...]:
    """Return a sentence on labels that keep their thresholds, if there are any.

    Args:
        kept: These labels, and the number of rows that have each.
    """
    if not kept:
        return ()
    label, rows = next(iter(kept.items()))
    first = f"{label!r} ({counted(rows, 'row')})"
    return (f"No promise for {counted(len(kept), 'label')}, such as {first}; the threshold stays as it was.",)


def _measures(positives: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Return means over the labels that some row has."""
    used = positives.any(axis=0)
    precision, recall, f1, _ = precision_recall_fscore_support(
        positives[:, used], chosen[:, used], average="macro", zero_division=0
    )
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
