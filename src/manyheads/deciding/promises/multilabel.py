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
    owner = f"{source}: head {head!r}"
    if isinstance(goal, str):
        if positives.sum() < MIN_POSITIVES:
            raise DataError(
                f"{owner}: thresholds='f1' needs at least {MIN_POSITIVES} labels in all rows, got {positives.sum()}; "
                "add rows"
            )
        fitted: list[float | None] = list(best_thresholds(scores, positives).tolist())
        promises = ["The thresholds are those with the largest F1 on these rows."]
    else:
        ((name, share),) = goal.items()
        fitted = [RULES[name](*columns, share) for columns in zip(scores.T, positives.T, strict=True)]
        promises = [f"Each label has a {name} of at least {share:.4g}, on average."]
    kept = [label for label, threshold in zip(spec.labels, fitted, strict=True) if threshold is None]
    if len(kept) == len(fitted):
        raise DataError(f"{owner}: no threshold of any label is known to reach {goal}; add rows, or ask for less")
    before = decision.thresholds or [DEFAULT_THRESHOLD] * len(fitted)
    found = [old if new is None else new for old, new in zip(before, fitted, strict=True)]
    decision = replace(decision, thresholds=found)
    notes = _kept_note(kept, positives.sum(axis=0)[[threshold is None for threshold in fitted]])
    measures = _measures(positives, spec.chosen(scores, decision))
    return DecisionFit(head, decision, len(scores), tuple(promises), measures, notes=notes)


def _kept_note(labels: list[object], positives: np.ndarray) -> tuple[str, ...]:
    """Return a sentence on labels that keep their thresholds, if there are any."""
    if not labels:
        return ()
    few = counted(int(positives[0]), "row")
    return (f"No promise for {counted(len(labels), 'label')}, such as {labels[0]!r} ({few}): thresholds kept.",)


def _measures(positives: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Return means over the labels that some row has."""
    used = positives.any(axis=0)
    precision, recall, f1, _ = precision_recall_fscore_support(
        positives[:, used], chosen[:, used], average="macro", zero_division=0
    )
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
