"""Fit a threshold per label of a head with several labels per text.

The threshold of label k is the one with the largest F1 on rows that were not trained on. A few positive rows tell
little, so the counts of label k are joined by those of all labels together, which weigh as much as ``PSEUDO_POSITIVES``
positive rows::

    tp_k(t), fp_k(t), fn_k(t)    true positives, false positives and false negatives of label k at threshold t
    tp(t), fp(t), fn(t)          their sums over all labels
    c                            PSEUDO_POSITIVES / positives of all labels
    t_k                          argmax over t of F1(tp_k + c tp, fp_k + c fp, fn_k + c fn)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manyheads.deciding.held_out import HeldOut
from manyheads.heads import Decision, HeadSpec
from manyheads.heads.decision import DEFAULT_THRESHOLD

PSEUDO_POSITIVES = 10
# With fewer positive cells in all, the default threshold is kept.
_MIN_POSITIVES = 20
# Thresholds are multiples of 1 / _STEPS.
_STEPS = 100


def fit_thresholds(spec: HeadSpec, held_out: HeldOut, decision: Decision) -> Decision:
    """Return a head's decision with thresholds for its scores; unchanged if the head has none, or too few rows.

    Args:
        spec: The head's spec.
        held_out: Rows that its weights were not trained on.
        decision: Its decision, with the temperature of the scores.
    """
    if "thresholds" not in spec.decided_by:
        return decision
    rows = held_out.take(np.flatnonzero(~np.isnan(held_out.targets).any(axis=1)))
    positives = rows.targets >= DEFAULT_THRESHOLD
    if positives.sum() < _MIN_POSITIVES:
        return decision
    return replace(decision, thresholds=best_thresholds(spec.scores(rows.logits, decision), positives).tolist())


def best_thresholds(scores: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Return the threshold of each label (labels,).

    Args:
        scores: Probabilities (rows, labels).
        positives: Booleans (rows, labels): whether a row has the label; at least one has.
    """
    true, predicted = (_counts_from(scores, cells) for cells in (positives, np.ones_like(positives)))
    actual = positives.sum(axis=0)[:, None].astype(np.float64)
    shares = [PSEUDO_POSITIVES / actual.sum() * counts.sum(axis=0) for counts in (true, predicted, actual)]
    true, predicted, actual = (counts + share for counts, share in zip((true, predicted, actual), shares, strict=True))
    f1 = 2 * true / (predicted + actual)
    # Among equal ones the threshold nearest to the middle.
    from_middle = np.abs(np.arange(1, _STEPS) - _STEPS / 2)
    order = np.argsort(from_middle, kind="stable")
    best: np.ndarray = (order[f1[:, order].argmax(axis=1)] + 1) / _STEPS
    return best


def _counts_from(scores: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return, for each label and threshold, the number of these cells that reach it, (labels, thresholds)."""
    steps = np.clip(np.floor(scores.astype(np.float64) * _STEPS + 1e-9), 0, _STEPS - 1).astype(np.int64)
    counts = np.zeros((scores.shape[1], _STEPS))
    np.add.at(counts, (np.broadcast_to(np.arange(scores.shape[1]), steps.shape)[cells], steps[cells]), 1)
    return counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
