"""What a head's answers cost, where its decision has costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyheads.evaluation.kinds import Measures
from manyheads.evaluation.resamples import Interval, Resamples, interval
from manyheads.evaluation.row_sums import RowSums


@dataclass(frozen=True)
class Costs:
    """The mean cost per row, ``costs[true label, answer]``, of three ways to answer.

    Attributes:
        favored: Always the label that the head favors, as if there were no costs.
        decided: The label with the least expected cost: the head's own answers.
        decided_interval: The 95% interval of ``decided``.
        saving: ``favored - decided``.
        saving_interval: Its 95% interval, by the same resamples for both.
        answered: ``decided`` on the rows that the head answers; ``None`` if it never abstains or always does.
    """

    favored: float
    decided: float
    decided_interval: Interval | None
    saving: float
    saving_interval: Interval | None
    answered: float | None


def costs_of(measures: Measures, resamples: Resamples) -> Costs | None:
    """Return the costs of a head's answers, or ``None`` if its decision has none. Rows with a label that the head does
    not have are left out: nobody said what they cost.
    """
    matrix, places = measures.rows.decision.costs, measures.label_positions()
    if matrix is None or places is None:
        return None
    costs, (true, favored, decided) = np.array(matrix), places
    known = true < len(costs)
    row = np.where(known, true, 0)
    each = np.stack([costs[row, favored] * known, costs[row, decided] * known, known], axis=1)
    if not known.any():
        return None
    draws = resamples.sums(RowSums({"costs": each}))["costs"]
    by_favored, by_decided = (draws[:, :2] / np.maximum(draws[:, 2:], 1)).T
    total = each.sum(axis=0)
    abstained = measures.abstained()
    answered = known if abstained is None else known & ~abstained
    return Costs(
        favored=float(total[0] / total[2]),
        decided=float(total[1] / total[2]),
        decided_interval=interval(by_decided),
        saving=float((total[0] - total[1]) / total[2]),
        saving_interval=interval(by_favored - by_decided),
        answered=float(each[answered, 1].mean()) if abstained is not None and answered.any() else None,
    )
