"""Learning curve: would more labels help?"""

from __future__ import annotations

from manyheads.evaluation.learning_curve import CurvePoint
from manyheads.evaluation.page.blocks import Pictures, Section
from manyheads.evaluation.page.charts.learning_curve import Point, learning_curve_chart
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.wording import words


def learning_curve_section(subject: Subject) -> Section | None:
    """Return the learning curve, where the report has one."""
    curve = subject.head.learning_curve
    if curve is None:
        return None
    points = [_point(one) for one in curve.points]
    expected = None if curve.expected is None else _point(curve.expected)
    legend = "Dots are measured on rows that were not trained on, with 95% intervals."
    if expected is not None:
        legend += " The dashed line leads to what a power law through them expects, with its interval."
    picture = Pictures([learning_curve_chart(words(curve.metric), points, expected)], legend, [curve.sentence])
    return Section("Would more labels help?", "", [picture])


def _point(one: CurvePoint) -> Point:
    return Point(one.rows, one.score, one.interval)
