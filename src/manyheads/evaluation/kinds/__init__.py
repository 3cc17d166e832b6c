"""Measures by head kind, one file per kind, and the table of them."""

from __future__ import annotations

from collections.abc import Callable

from manyheads.evaluation.kinds.base import LabelMetrics, Measures, Statements, worst_first
from manyheads.evaluation.kinds.count import CountMeasures
from manyheads.evaluation.kinds.label_scores import LabelScores
from manyheads.evaluation.kinds.multiclass import MulticlassMeasures
from manyheads.evaluation.kinds.multilabel import MultiLabelMeasures
from manyheads.evaluation.kinds.ordinal import OrdinalMeasures
from manyheads.evaluation.kinds.regression import RegressionMeasures
from manyheads.evaluation.kinds.tokens import token_measures
from manyheads.evaluation.scored_rows import ScoredRows

# Head kind -> from scored rows to their measures.
MEASURES: dict[str, Callable[[ScoredRows], Measures]] = {
    "multiclass": MulticlassMeasures,
    "multilabel": MultiLabelMeasures,
    "ordinal": OrdinalMeasures,
    "regression": RegressionMeasures,
    "count": CountMeasures,
    "tokens": token_measures,
}


def measures_of(rows: ScoredRows) -> Measures:
    """Return what a head's scored rows are measured by.

    Args:
        rows: At least one.
    """
    return MEASURES[rows.spec.kind](rows)


__all__ = ["MEASURES", "LabelMetrics", "LabelScores", "Measures", "Statements", "measures_of", "worst_first"]
