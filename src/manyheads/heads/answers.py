"""From the scores of a head with exactly one label per row to its answers, as its decision says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyheads.heads.abstention import abstention_scores
from manyheads.heads.decision import Decision
from manyheads.heads.prediction_sets import conformity_scores


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers for some rows; what the decision does not ask for is ``None``.

    Attributes:
        positions: Position of the predicted label, int64 (rows,).
        abstained: (rows,) booleans: the head abstains.
        sets: (rows, labels) booleans: the labels in the prediction set.
        costs: Expected cost of the predicted label, fp64 (rows,).
    """

    positions: np.ndarray
    abstained: np.ndarray | None = None
    sets: np.ndarray | None = None
    costs: np.ndarray | None = None


def answers(scores: np.ndarray, favored: np.ndarray, decision: Decision) -> Answers:
    """Return the answers of a decision.

    Args:
        scores: Probabilities (rows, labels).
        favored: Position of the label that a head of this kind predicts without costs, (rows,).
        decision: The head's decision.
    """
    positions, costs = favored, None
    if decision.costs is not None:
        expected = expected_costs(scores, np.array(decision.costs))
        positions, costs = expected.argmin(axis=1), expected.min(axis=1)
    return Answers(positions, _abstained(scores, decision), _sets(scores, positions, decision), costs)


def expected_costs(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Return the expected cost of predicting each label, fp64 (rows, labels): ``sum over y of p_y * costs[y, label]``.

    Args:
        scores: Probabilities p (rows, labels).
        costs: (labels, labels), a row per right label, a column per predicted one.
    """
    expected: np.ndarray = scores.astype(np.float64) @ costs
    return expected


def _abstained(scores: np.ndarray, decision: Decision) -> np.ndarray | None:
    if decision.abstain_below is None:
        return None
    below: np.ndarray = abstention_scores(scores, decision.abstain_by) < decision.abstain_below
    return below


def _sets(scores: np.ndarray, positions: np.ndarray, decision: Decision) -> np.ndarray | None:
    if decision.set_threshold is None:
        return None
    inside: np.ndarray = conformity_scores(scores, positions, decision.set_by) <= decision.set_threshold
    return inside
