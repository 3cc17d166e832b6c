"""What a head answers, as its decision says: the same answers as ``predict`` gives."""

from __future__ import annotations

import numpy as np

from manyheads.evaluation.scored_rows import ScoredRows
from manyheads.heads import OneLabelSpec
from manyheads.heads.abstention import ABSTENTION_SCORES


def favored_labels(rows: ScoredRows) -> np.ndarray:
    """Return the position of the label that a head with one label per row favors, whatever errors cost, (rows,)."""
    assert isinstance(rows.spec, OneLabelSpec)
    return rows.spec.positions(rows.logits)


def predicted_labels(rows: ScoredRows) -> np.ndarray:
    """Return the position of the label that a head with one label per row predicts, int64 (rows,)."""
    return favored_labels(rows)


def confidences(rows: ScoredRows) -> np.ndarray:
    """Return the abstention score of each row (rows,): a head abstains where it is low."""
    return ABSTENTION_SCORES[rows.decision.abstain_by](rows.logits, rows.scores)
