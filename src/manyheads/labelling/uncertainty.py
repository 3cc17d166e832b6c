"""How uncertain a head is of each text, from 0 to 1, by kind of head."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import numpy as np

from manyheads.heads import Decision, HeadSpec, MultiLabel, OneLabelSpec, Tokens
from manyheads.heads.decision import DEFAULT_THRESHOLD


@singledispatch
def uncertainty(spec: HeadSpec, scores: Any, decision: Decision) -> np.ndarray | None:
    """Return how uncertain each text's prediction is (rows,), or ``None`` for heads that predict numbers.

    Args:
        spec: The head's spec.
        scores: The head's scores (rows, labels), or ``Ragged`` with (words, tags).
        decision: The head's decision.
    """
    return None


@uncertainty.register
def _one_label(spec: OneLabelSpec, scores: np.ndarray, decision: Decision) -> np.ndarray:
    return _closeness(scores)


@uncertainty.register
def _several_labels(spec: MultiLabel, scores: np.ndarray, decision: Decision) -> np.ndarray:
    """Of the label in most doubt: the one whose probability is nearest to its threshold."""
    given = decision.thresholds
    thresholds = np.array([DEFAULT_THRESHOLD] * scores.shape[1] if given is None else given)
    distance = np.abs(scores - thresholds) / np.maximum(thresholds, 1 - thresholds)
    found: np.ndarray = 1 - distance.min(axis=1)
    return found


@uncertainty.register
def _tokens(spec: Tokens, scores: Any, decision: Decision) -> np.ndarray:
    """Of the word in most doubt; 0 without words."""
    found = np.zeros(len(scores))
    np.maximum.at(found, scores.rows, _closeness(scores.values))
    return found


def _closeness(scores: np.ndarray) -> np.ndarray:
    """Return 1 minus the difference of the two largest probabilities (items,)."""
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    closeness: np.ndarray = 1 - (first - second)
    return closeness
