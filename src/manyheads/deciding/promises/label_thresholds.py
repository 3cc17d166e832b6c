"""A threshold per label of a head with several labels per text: for F1, for a precision or for a recall.

A precision p is that of at most ``1 - p`` wrong ones among the texts with the label, and a recall r is the share of the
texts of the label that reach the threshold: both are fitted as ``max_error`` and ``answered`` are, label by label, and
hold on average over draws of the rows. A label with too few rows keeps its threshold.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from manyheads.deciding.promises.abstention import highest_threshold, lowest_threshold
from manyheads.deciding.promises.risk_coverage import risk_coverage

# Returns the threshold for the scores (rows,) of one label and whether each row has it (rows,), or `None`.
Rule = Callable[[np.ndarray, np.ndarray, float], "float | None"]


def for_precision(scores: np.ndarray, positives: np.ndarray, precision: float) -> float | None:
    """Return the lowest threshold of one label with at least this precision, or ``None`` if none is known to have it.

    Args:
        scores: Probability of the label (rows,).
        positives: (rows,) booleans: the row has the label.
        precision: The precision.
    """
    return lowest_threshold(risk_coverage(scores, ~positives), 1 - precision)


def for_recall(scores: np.ndarray, positives: np.ndarray, recall: float) -> float | None:
    """Return the highest threshold of one label with at least this recall, or ``None`` with too few positive rows.

    Args:
        scores: Probability of the label (rows,).
        positives: (rows,) booleans: the row has the label.
        recall: The recall.
    """
    return highest_threshold(scores[positives], recall)


# The names that `thresholds={...}` takes.
RULES: dict[str, Rule] = {"precision": for_precision, "recall": for_recall}
