"""The metrics that training gives for each head, on labelled rows only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from manyheads.evaluation.kinds import Measures, measures_of
from manyheads.evaluation.scored_rows import ScoredRows, scored_rows
from manyheads.heads import NEUTRAL, Decision, HeadSpec, OneLabelSpec
from manyheads.heads.kinds.shares import most_probable
from manyheads.types import MISSING

Metrics = dict[str, float]

# The metrics that are also given at the default threshold, where a decision has others.
_AT_HALF = ("micro_f1", "macro_f1")


def measure(spec: HeadSpec, targets: Any, logits: Any, decision: Decision = NEUTRAL) -> Metrics:
    """Return a head's metrics, ``rows`` (the number of labelled rows) first, and alone if no row is labelled.

    Args:
        spec: The head's spec.
        targets: The values of ``Targets``.
        logits: The values of ``Logits``.
        decision: The head's decision. With thresholds, F1 at 0.5 is given besides: ``micro_f1_at_half`` and
            ``macro_f1_at_half``.
    """
    return short_metrics(scored_rows(spec, targets, logits, decision))


def short_metrics(rows: ScoredRows) -> Metrics:
    """Return the metrics of ``measure`` of labelled rows."""
    if not len(rows):
        return {"rows": 0}
    metrics = {"rows": len(rows), **_short(measures_of(rows))}
    if rows.decision.thresholds is None:
        return metrics
    at_half = _short(measures_of(replace(rows, decision=replace(rows.decision, thresholds=None))))
    return metrics | {f"{name}_at_half": at_half[name] for name in _AT_HALF}


def baseline(spec: HeadSpec, train: Any, targets: Any) -> Metrics:
    """Return what predictions without the texts would reach: for one label per row, the training rows' most frequent.

    Args:
        spec: The head's spec.
        train: The values of the training rows' targets, at least one of them labelled.
        targets: The values of the evaluation rows' targets.
    """
    if not isinstance(spec, OneLabelSpec):
        return {}
    positions, known = most_probable(targets), most_probable(train)
    present = positions[positions != MISSING]
    frequent = np.bincount(known[known != MISSING]).argmax()
    return {"majority_accuracy": float((present == frequent).mean())} if len(present) else {}


def _short(measures: Measures) -> Metrics:
    found = measures.metrics
    return {name: found[name] for name in measures.short}
