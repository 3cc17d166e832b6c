"""Joint accuracy: the share of rows for which all heads are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.resamples import Interval, Resamples, interval


@dataclass(frozen=True)
class JointAccuracy:
    """The share of rows for which all heads are right, of those with a label of every head.

    Attributes:
        heads: The heads; those that predict numbers are left out, being neither right nor wrong.
        rows: Number of rows with a label of every head.
        value: The share.
        interval: Its 95% interval.
    """

    heads: tuple[str, ...]
    rows: int
    value: float
    interval: Interval | None


def joint_accuracy(heads: Mapping[str, EvaluatedRows], texts: Sequence[Any]) -> JointAccuracy | None:
    """Return the joint accuracy, or ``None`` with fewer than two heads, or without a row that they all label."""
    joined = {name: one for name, one in heads.items() if one.measures.counts_as_right_or_wrong}
    if len(joined) < 2:
        return None
    right, labelled = np.ones(len(texts), dtype=bool), np.ones(len(texts), dtype=bool)
    for one in joined.values():
        own = np.zeros(len(texts), dtype=bool)
        own[one.labelled] = True
        labelled &= own
        right[one.labelled] &= one.measures.right
    rows = np.flatnonzero(labelled)
    if not len(rows):
        return None
    draws = Resamples([texts[row] for row in rows.tolist()]).means(right[rows])
    return JointAccuracy(tuple(joined), len(rows), float(right[rows].mean()), interval(draws))
