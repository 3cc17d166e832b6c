"""From the scores of a simple model to logits of which a head would make these scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# No probability of a baseline is smaller.
_LEAST = 1e-6

Logits = Callable[[np.ndarray], np.ndarray]


def of_softmax(scores: np.ndarray) -> np.ndarray:
    """Return ``log p`` (items, labels)."""
    return _logarithm(scores)


def of_sigmoids(scores: np.ndarray) -> np.ndarray:
    """Return ``log p - log(1 - p)`` (rows, labels)."""
    logits: np.ndarray = _logarithm(scores) - _logarithm(1 - scores)
    return logits


def of_ordered(scores: np.ndarray) -> np.ndarray:
    """Return the logits (rows, labels - 1) of ``P(y > k | y >= k)``: ``log P(y > k) - log P(y = k)``."""
    bounded = np.maximum(scores, _LEAST)
    beyond = np.cumsum(bounded[:, ::-1], axis=1)[:, ::-1][:, 1:]
    logits: np.ndarray = np.log(beyond) - np.log(bounded[:, :-1])
    return logits


def of_numbers(scores: np.ndarray) -> np.ndarray:
    """Return the numbers (rows, 1)."""
    return scores


def of_counts(scores: np.ndarray) -> np.ndarray:
    """Return the logarithms of expected counts (rows, 1)."""
    return _logarithm(scores)


def _logarithm(values: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.log(np.maximum(values, _LEAST))
    return found


# Head kind -> from scores to logits.
LOGITS: dict[str, Logits] = {
    "multiclass": of_softmax,
    "multilabel": of_sigmoids,
    "ordinal": of_ordered,
    "regression": of_numbers,
    "count": of_counts,
    "tokens": of_softmax,
}
