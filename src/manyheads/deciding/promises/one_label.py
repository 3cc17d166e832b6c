"""Fit the decision of a head with exactly one label per row: costs first, then abstention, then sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import beta

from manyheads.deciding.promises.abstention import threshold_for_error, threshold_for_share
from manyheads.deciding.promises.confident_abstention import confident_threshold
from manyheads.deciding.promises.costs import read_costs
from manyheads.deciding.promises.decision_fit import DecisionFit
from manyheads.deciding.promises.goals import Goals
from manyheads.deciding.promises.risk_coverage import RiskCoverage, risk_coverage
from manyheads.deciding.promises.sets import quantile_place, set_threshold
from manyheads.errors import counted
from manyheads.heads import Decision, OneLabelSpec
from manyheads.heads.abstention import abstention_scores
from manyheads.heads.answers import Answers
from manyheads.heads.prediction_sets import conformity_scores


@dataclass(frozen=True, eq=False)
class LabelledLogits:
    """The rows to fit on.

    Attributes:
        head: The head's name.
        source: The table's name.
        spec: The head's spec.
        positions: Position of each row's right label (rows,).
        logits: fp32 (rows, outputs).
    """

    head: str
    source: str
    spec: OneLabelSpec
    positions: np.ndarray
    logits: np.ndarray

    @property
    def owner(self) -> str:
        """The table and the head, for messages."""
        return f"{self.source}: head {self.head!r}"

    def scores(self, decision: Decision) -> np.ndarray:
        """Return calibrated probabilities (rows, labels)."""
        return self.spec.scores(self.logits, decision)

    def answers(self, decision: Decision) -> Answers:
        """Return the answers of a decision."""
        return self.spec.answers(self.logits, self.scores(decision), decision)

    def conformity(self, decision: Decision, by: str) -> np.ndarray:
        """Return the conformity score of each row's right label (rows,)."""
        scores = conformity_scores(self.scores(decision), self.answers(decision).positions, by)
        right: np.ndarray = scores[np.arange(len(scores)), self.positions]
        return right

    def curve(self, decision: Decision) -> RiskCoverage:
        """Return the risk-coverage curve of the labels that a decision predicts."""
        wrong = self.answers(decision).positions != self.positions
        return risk_coverage(abstention_scores(self.scores(decision), decision.abstain_by), wrong)


def fit_one_label(rows: LabelledLogits, decision: Decision, goals: Goals) -> DecisionFit:
    """Return a decision with these goals. What is not asked for stays, but new costs drop an abstention and sets, which
    were fitted to other predicted labels.
    """
    if goals.costs is not None:
        costs = read_costs(goals.costs, rows.spec.labels, f"Head {rows.head!r}")
        decision = replace(decision.with_temperature(decision.temperature), costs=costs.tolist())
    if goals.max_error is not None or goals.answered is not None:
        decision = replace(decision, abstain_by=goals.abstain_by, abstain_below=None, max_error=None, confidence=None)
        below = _abstention_threshold(rows, decision, goals)
        decision = replace(decision, abstain_below=below, max_error=goals.max_error, confidence=goals.confidence)
    if goals.set_coverage is not None:
        threshold = set_threshold(rows.conformity(decision, goals.set_by), goals.set_coverage, rows.owner)
        decision = replace(
            decision, set_threshold=threshold, set_by=goals.set_by, set_coverage=float(goals.set_coverage)
        )
    count, curve = len(rows.positions), rows.curve(decision)
    return DecisionFit(
        rows.head, decision, count, _promises(goals), _measures(rows, decision), curve, _notes(goals, count)
    )


def _abstention_threshold(rows: LabelledLogits, decision: Decision, goals: Goals) -> float:
    if goals.answered is not None:
        return threshold_for_share(
            abstention_scores(rows.scores(decision), goals.abstain_by), goals.answered, rows.owner
        )
    assert goals.max_error is not None
    curve = rows.curve(decision)
    if goals.confidence is None:
        return threshold_for_error(curve, goals.max_error, rows.owner)
    return confident_threshold(curve, goals.max_error, goals.confidence, rows.owner)


def _measures(rows: LabelledLogits, decision: Decision) -> dict[str, float]:
    """Return what the decision does on these rows; the keys are those of ``DecisionFit.measures``."""
    found = rows.answers(decision)
    wrong = found.positions != rows.positions
    measures = {"error_of_all": float(wrong.mean())}
    if found.abstained is not None:
        answered = ~found.abstained
        measures["answered"] = float(answered.mean())
        if answered.any():
            measures["error"] = float(wrong[answered].mean())
    if found.sets is not None:
        inside = found.sets[np.arange(len(wrong)), rows.positions]
        measures |= {"set_coverage": float(inside.mean()), "set_size": float(found.sets.sum(axis=1).mean())}
    if found.costs is not None:
        costs = np.array(decision.costs)
        favored = rows.spec.positions(rows.logits)
        measures |= {
            "cost": float(costs[rows.positions, found.positions].mean()),
            "cost_without": float(costs[rows.positions, favored].mean()),
        }
    return measures


def _promises(goals: Goals) -> tuple[str, ...]:
    found = []
    if goals.costs is not None:
        found.append("The label with the least expected cost is predicted.")
    if goals.max_error is not None:
        how = "on average" if goals.confidence is None else f"with a confidence of {goals.confidence:.4g}"
        found.append(f"At most {goals.max_error:.4g} of the answers are wrong, {how}.")
    if goals.answered is not None:
        found.append(f"At least {goals.answered:.4g} of such texts are answered, on average.")
    if goals.set_coverage is not None:
        found.append(f"At least {goals.set_coverage:.4g} of the sets contain the right label, on average.")
    return tuple(found)


def _notes(goals: Goals, rows: int) -> tuple[str, ...]:
    """Return a sentence on how much the coverage of sets depends on the draw of the rows: it is that of the k-th
    smallest of n numbers, a beta distribution."""
    if goals.set_coverage is None:
        return ()
    place = quantile_place(rows, goals.set_coverage)
    low, high = beta.ppf([0.05, 0.95], place, rows + 1 - place)
    return (f"With {counted(rows, 'row')}, the coverage of sets is {low:.3f} to {high:.3f} in nine of ten draws.",)
