"""A head's logits and scores of the rows that have a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.unknown_labels import UnknownLabels
from manyheads.heads import NEUTRAL, Decision, HeadSpec, MultiLabel, Ragged
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
        chosen: (rows, labels) booleans: the labels that a head with several labels per row predicts, where rows have
            decisions of their own, as in cross-validation; ``None`` where ``decision`` is that of all rows.
    """

    spec: HeadSpec
    targets: Any
    logits: Any
    scores: Any
    decision: Decision
    further: int = 0
    chosen: np.ndarray | None = None

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


def joined_rows(parts: Sequence[ScoredRows], order: np.ndarray, decision: Decision) -> ScoredRows:
    """Return rows that were scored by different decisions as one.

    Args:
        parts: The rows of each decision, at least one part.
        order: The order of the joined rows (rows,): their numbers among those of the parts end to end.
        decision: The decision that stands for all of them.
    """
    targets, logits, scores = (
        rows_of(_joined([getattr(part, name) for part in parts]), order) for name in ("targets", "logits", "scores")
    )
    spec, chosen = parts[0].spec, None
    if isinstance(spec, MultiLabel):
        chosen = np.concatenate([spec.chosen(part.scores, part.decision) for part in parts])[order]
    return ScoredRows(spec, targets, logits, scores, decision, chosen=chosen)


def _joined(values: Sequence[Any]) -> Any:
    return Ragged.joined(values) if isinstance(values[0], Ragged) else np.concatenate(values)


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
