"""The result of fitting a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from manyheads.deciding.promises.risk_coverage import RiskCoverage
from manyheads.heads import Decision


@dataclass(frozen=True, eq=False, repr=False)
class DecisionFit:
    """What was fitted, on how many rows, and what it promises for texts from the same source as these rows.

    Attributes:
        head: The head's name.
        decision: The decision, which the head has now.
        rows: Number of labelled rows that it was fitted on.
        promises: A sentence per promise.
        measures: Numbers on these rows. ``answered``: share of the rows; ``error``: share of the answers that are
            wrong; ``error_of_all``: the same if the head never abstained; ``set_coverage``: share of the sets that
            contain the right label; ``set_size``: their mean number of labels; ``cost`` and ``cost_without``: mean
            cost per row, and that of the labels predicted without costs; ``precision``, ``recall`` and ``f1``: means
            over the labels.
        curve: The risk-coverage curve; ``None`` for a head with several labels per text.
        notes: Sentences on labels with too few rows, and on how much a promise depends on the draw of the rows.

    Examples:
        >>> fit = mh.fit_decision(trained, "urgency", table, text="note", set_coverage=0.8)
        >>> fit
        DecisionFit('urgency', 24 rows: At least 0.8 of the sets contain the right label, on average.)
    """

    head: str
    decision: Decision
    rows: int
    promises: tuple[str, ...]
    measures: Mapping[str, float]
    curve: RiskCoverage | None = None
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        return f"DecisionFit({self.head!r}, {self.rows} rows: {' '.join(self.promises)})"
