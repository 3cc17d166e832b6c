"""A small picture for a cell of a table: a number with its interval, beside the number of all rows."""

from __future__ import annotations

from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.axes import Range, dot, whisker
from manyheads.evaluation.page.charts.kit.scale import Scale
from manyheads.evaluation.page.charts.kit.svg import picture
from manyheads.evaluation.resamples import Interval

_SIZE = (130.0, 18.0)


def interval_picture(value: float, ends: Interval | None, overall: float, span: Range) -> Markup:
    """Return the picture.

    Args:
        value: The number.
        ends: Its 95% interval.
        overall: The same number for all rows: the vertical line.
        span: The numbers at its left and right end.
    """
    scale, middle = Scale(*span, 6, _SIZE[0] - 6), _SIZE[1] / 2
    bar = [] if ends is None else [whisker((scale(ends.low), middle), (scale(ends.high), middle))]
    said = "" if ends is None else f", 95% interval {ends.low:.3f} to {ends.high:.3f}"
    return picture(
        f"{value:.3f} beside {overall:.3f} of all rows",
        f"{value:.3f}{said}; all rows {overall:.3f}.",
        _SIZE,
        whisker((scale(overall), 1), (scale(overall), _SIZE[1] - 1), "overall"),
        *bar,
        dot((scale(value), middle), "mark"),
    )
