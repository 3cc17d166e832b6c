"""A head's logits and scores of the rows that have a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.unknown_labels import UnknownLabels
from manyheads.heads import NEUTRAL, Decision, HeadSpec, Ragged
from manyheads.types import MISSING


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """A head's logits and scores of rows that all have a label.

    Attributes:
        spec: The head's spec; labels that only the table has stand after the head's own.
        targets: Encoded labels (rows, ...), or ``Ragged`` with one per word.
        logits: The head's logits (rows, outputs), or ``Ragged`` with (words, outputs).
        scores: The scores that ``predict`` gives (rows, score_width), or ``Ragged`` with (words, score_width).
        decision: The head's decision.
        further: Number of labels that only the table has: they have no scores, and count as never predicted.
    """

    spec: HeadSpec
    targets: Any
    logits: Any
    scores: Any
    decision: Decision
    further: int = 0

    def __len__(self) -> int:
        return len(self.targets)

    def padded(self, values: np.ndarray) -> np.ndarray:
        """Return (items, labels) with zeros for the labels that only the table has."""
        return np.pad(values, ((0, 0), (0, self.further)))


def scored_rows(
    spec: HeadSpec, targets: Any, logits: Any, decision: Decision = NEUTRAL, unknown: UnknownLabels | None = None
) -> ScoredRows:
    """Return a head's logits and scores of the labelled ones of some rows.

    Args:
        spec: The head's spec.
        targets: The values of ``Targets``; with ``unknown``, its targets are used.
        logits: The values of ``Logits``; those of rows without a label may be anything.
        decision: The head's decision.
        unknown: Labels of the rows that the head does not have.
    """
    if unknown is not None:
        targets = unknown.targets.values
    rows = labelled_rows(targets)
    targets, logits = rows_of(targets, rows), rows_of(logits, rows)
    scores = _scores(spec, logits, decision)
    if unknown is None:
        return ScoredRows(spec, targets, logits, scores, decision)
    return ScoredRows(unknown.spec, targets, logits, scores, decision, unknown.spec.score_width - spec.score_width)


def labelled_rows(targets: Any) -> np.ndarray:
    """Return the numbers of the rows with a label, int64.

    Args:
        targets: The values of ``Targets``.
    """
    if isinstance(targets, Ragged):
        return np.flatnonzero(np.bincount(targets.rows[targets.values != MISSING], minlength=len(targets)))
    present = targets != MISSING if targets.dtype.kind == "i" else ~np.isnan(targets)
    return np.flatnonzero(present.all(axis=tuple(range(1, present.ndim))))


def rows_of(values: Any, rows: np.ndarray) -> Any:
    """Return some rows of targets, logits or scores."""
    return values.take(rows) if isinstance(values, Ragged) else values[rows]


def _scores(spec: HeadSpec, logits: Any, decision: Decision) -> Any:
    if isinstance(logits, Ragged):
        return Ragged(spec.scores(logits.values, decision), logits.offsets)
    return spec.scores(logits, decision)
