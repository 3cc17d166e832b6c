"""Abstention scores: how sure a head is of one answer, from 0 to 1. The larger, the surer.

With the probabilities p of K labels for one text ::

    entropy        1 + (sum of p_k log p_k) / log K
    probability    max of p_k                           (Hendrycks and Gimpel 2017)

Both fall where a head is unsure between labels, and so for its own mistakes. The entropy also falls where many labels
keep a little probability, which is what texts outside of all labels look like: it finds more of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np


def abstention_scores(scores: np.ndarray, by: str) -> np.ndarray:
    """Return the abstention score of each row, fp64 (rows,).

    Args:
        scores: Probabilities (rows, labels).
        by: ``"entropy"`` or ``"probability"``.
    """
    return ABSTENTION_SCORES[by](scores.astype(np.float64))


def _certainty(probabilities: np.ndarray) -> np.ndarray:
    logarithms = np.log(probabilities, where=probabilities > 0, out=np.zeros_like(probabilities))
    certainty: np.ndarray = 1.0 + (probabilities * logarithms).sum(axis=1) / math.log(probabilities.shape[1])
    return certainty


def _largest(probabilities: np.ndarray) -> np.ndarray:
    largest: np.ndarray = probabilities.max(axis=1)
    return largest


# The names that `Decision(abstain_by=...)` takes.
ABSTENTION_SCORES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"entropy": _certainty, "probability": _largest}
