"""A head's answers to the rows that have a label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.unknown_labels import UnknownLabels
from manyheads.heads import NEUTRAL, Decision, HeadSpec, Ragged
from manyheads.heads.decision import with_new_labels
from manyheads.types import MISSING


@dataclass(frozen=True, eq=False)
class Answers:
    """A head's answers to rows that all have a label.

    Attributes:
        spec: The head's spec; labels that only the table has stand after the head's own.
        targets: Encoded labels (rows, ...), or ``Ragged`` with one per word.
        scores: The scores that ``predict`` gives (rows, score_width), or ``Ragged`` with (words, score_width); 0 for
            labels that only the table has.
        decision: The head's decision.
        further: Number of labels that only the table has.
    """

    spec: HeadSpec
    targets: Any
    scores: Any
    decision: Decision
    further: int = 0

    def __len__(self) -> int:
        return len(self.targets)


def answers_of(
    spec: HeadSpec, targets: Any, logits: Any, decision: Decision = NEUTRAL, unknown: UnknownLabels | None = None
) -> Answers:
    """Return a head's answers to the labelled ones of some rows.

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
    scores = _scores(spec, rows_of(logits, rows))
    if unknown is None:
        return Answers(spec, rows_of(targets, rows), scores, decision)
    further = unknown.spec.score_width - spec.score_width
    decision = with_new_labels(decision, further)
    return Answers(unknown.spec, rows_of(targets, rows), _padded(scores, further), decision, further)


def _scores(spec: HeadSpec, logits: Any) -> Any:
    """Return the scores that ``predict`` gives."""
    if isinstance(logits, Ragged):
        return Ragged(spec.scores(logits.values), logits.offsets)
    return spec.scores(logits)


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


def _padded(scores: Any, further: int) -> Any:
    """Return scores with zeros for so many further labels after the head's own."""
    if isinstance(scores, Ragged):
        return Ragged(_padded(scores.values, further), scores.offsets)
    return np.pad(scores, ((0, 0), (0, further)))
