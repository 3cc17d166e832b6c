"""Abstention scores: how sure a head is of one answer. The larger, the surer.

Each is a function of the raw logits and the calibrated scores, (rows, outputs) and (rows, labels), and returns (rows,).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

AbstentionScore = Callable[[np.ndarray, np.ndarray], np.ndarray]


def largest_probability(logits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the probability of the most probable label (Hendrycks and Gimpel 2017)."""
    largest: np.ndarray = scores.max(axis=-1)
    return largest


# The names that `Decision(abstain_by=...)` takes.
ABSTENTION_SCORES: Mapping[str, AbstentionScore] = {"probability": largest_probability}
