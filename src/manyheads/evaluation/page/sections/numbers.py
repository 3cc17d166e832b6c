"""Predicted numbers beside true ones."""

from __future__ import annotations

from manyheads.evaluation.page.blocks import Pictures, Section
from manyheads.evaluation.page.charts.scatter import MOST_POINTS, scatter
from manyheads.evaluation.page.subject import Subject


def numbers_section(subject: Subject) -> Section | None:
    """Return the picture, for heads that predict numbers."""
    numbers = subject.head.evaluated.measures.numbers()
    if numbers is None:
        return None
    part = f" {MOST_POINTS} of {len(numbers[0]):,} rows are shown." if len(numbers[0]) > MOST_POINTS else ""
    legend = f"A dot per row; on the dashed line, the prediction is right.{part}"
    return Section("Predicted and true numbers", "", [Pictures([scatter(*numbers)], legend)])
