"""Learning curve: the main metric for each number of training rows, and what more would give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.axes import Axes, axes, dot, path, whisker
from manyheads.evaluation.page.charts.kit.scale import rounded_range
from manyheads.evaluation.page.charts.kit.svg import joined
from manyheads.evaluation.resamples import Interval


@dataclass(frozen=True)
class Point:
    """A metric for one number of training rows.

    Attributes:
        rows: Number of training rows.
        score: The metric.
        interval: Its 95% interval.
    """

    rows: int
    score: float
    interval: Interval | None


def learning_curve_chart(metric: str, points: Sequence[Point], expected: Point | None) -> Markup:
    """Return the measured points, joined by a line, and the expected one at the end of a dashed line.

    Args:
        metric: The metric's name.
        points: The fewest rows first.
        expected: An extrapolated point with more rows; ``None`` without one.
    """
    every = [*points, *(() if expected is None else (expected,))]
    shown = axes(
        (every[0].rows, every[-1].rows),
        rounded_range([end for point in every for end in _ends(point)]),
        "training rows",
        metric,
        log_x=True,
    )
    said = ", ".join(f"{point.score:.3f} with {point.rows:,}" for point in points)
    further = "" if expected is None else f" Expected with {expected.rows:,} rows: {expected.score:.3f}."
    places = [shown.place((point.rows, point.score)) for point in every]
    return shown.picture(
        "Learning curve",
        f"{metric} by training rows: {said}.{further}",
        path(places[: len(points)], "curve"),
        path(places[len(points) - 1 :], "second"),
        *(_mark(shown, point, "mark") for point in points),
        *([] if expected is None else [_mark(shown, expected, "expected")]),
    )


def _mark(shown: Axes, point: Point, style: str) -> Markup:
    low, high = ((point.rows, end) for end in _ends(point))
    return joined([whisker(shown.place(low), shown.place(high)), dot(shown.place((point.rows, point.score)), style)])


def _ends(point: Point) -> tuple[float, float]:
    return (point.score, point.score) if point.interval is None else (point.interval.low, point.interval.high)
