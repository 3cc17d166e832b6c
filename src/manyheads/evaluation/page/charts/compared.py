"""A head's main metric beside those of its baselines, each on a line of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.axes import dot, whisker
from manyheads.evaluation.page.charts.kit.scale import Scale, rounded_range, tick_text
from manyheads.evaluation.page.charts.kit.svg import caption, joined, picture
from manyheads.evaluation.resamples import Interval

_WIDTH, _ROW, _LEFT, _RIGHT = 380.0, 22.0, 122.0, 16.0


@dataclass(frozen=True)
class Compared:
    """One line.

    Attributes:
        name: Whose metric it is.
        value: The metric.
        interval: Its 95% interval.
    """

    name: str
    value: float
    interval: Interval | None = None


def compared_chart(metric: str, lines: Sequence[Compared]) -> Markup:
    """Return a dot per line, the head's first, with whiskers for intervals.

    Args:
        metric: The metric's name.
        lines: At least one with a defined value.
    """
    ends = [end for line in lines if line.interval is not None for end in (line.interval.low, line.interval.high)]
    shares = all(0 <= value <= 1 for value in [*ends, *(line.value for line in lines)])
    low, high = (0.0, 1.0) if shares else rounded_range([*ends, *(line.value for line in lines)], from_zero=True)
    scale = Scale(low, high, _LEFT, _WIDTH - _RIGHT)
    bottom = len(lines) * _ROW + 4
    grid = [whisker((scale(tick), 2), (scale(tick), bottom), "gridline") for tick in scale.ticks]
    numbers = [caption(tick_text(tick), scale(tick), bottom + 14, "middle") for tick in scale.ticks]
    drawn = [_line(line, scale, place) for place, line in enumerate(lines)]
    said = "; ".join(f"{line.name} {line.value:.3f}" for line in lines)
    return picture(f"{metric} beside baselines", f"{said}.", (_WIDTH, bottom + 20), *grid, *numbers, *drawn)


def _line(line: Compared, scale: Scale, place: int) -> Markup:
    y, style = place * _ROW + 14, "mark" if place == 0 else "baseline"
    ends = line.interval
    bar = [] if ends is None else [whisker((scale(ends.low), y), (scale(ends.high), y))]
    return joined([caption(line.name, _LEFT - 12, y + 4, "end", "value"), *bar, dot((scale(line.value), y), style, 5)])
