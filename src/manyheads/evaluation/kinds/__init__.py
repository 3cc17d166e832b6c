"""Measures by head kind, one file per kind, and the table of them."""

from __future__ import annotations

from collections.abc import Callable

from manyheads.evaluation.answers import Answers
from manyheads.evaluation.kinds.base import LabelMetrics, LabelScores, Measures, Statements
from manyheads.evaluation.kinds.count import CountMeasures
from manyheads.evaluation.kinds.multiclass import MulticlassMeasures
from manyheads.evaluation.kinds.multilabel import MultiLabelMeasures
from manyheads.evaluation.kinds.ordinal import OrdinalMeasures
from manyheads.evaluation.kinds.regression import RegressionMeasures
from manyheads.evaluation.kinds.tokens import token_measures

# Head kind -> from answers to their measures.
MEASURES: dict[str, Callable[[Answers], Measures]] = {
    "multiclass": MulticlassMeasures,
    "multilabel": MultiLabelMeasures,
    "ordinal": OrdinalMeasures,
    "regression": RegressionMeasures,
    "count": CountMeasures,
    "tokens": token_measures,
}


def measures_of(answers: Answers) -> Measures:
    """Return the measures of a head's answers.

    Args:
        answers: At least one.
    """
    return MEASURES[answers.spec.kind](answers)


__all__ = ["MEASURES", "LabelMetrics", "LabelScores", "Measures", "Statements", "measures_of"]
