"""Two axes with a grid, ticks and titles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.scale import LogScale, Scale, tick_text
from manyheads.evaluation.page.charts.kit.svg import caption, joined, picture, tag

SIZE = (380.0, 280.0)
# Room around the axes: the widths of a digit, of the lines of text, and of half a number at the right end.
_DIGIT, _LINE, _END = 6.6, 16.0, 18.0

Range = tuple[float, float]


@dataclass(frozen=True)
class Axes:
    """Two axes.

    Attributes:
        x: The horizontal scale.
        y: The vertical scale.
        x_title: What the horizontal axis shows.
        y_title: What the vertical axis shows.
        size: Width and height of the picture.
    """

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    size: Range

    def picture(self, title: str, description: str, *marks: str) -> Markup:
        """Return the picture: grid, marks and axes; title and description are for screen readers."""
        return picture(title, description, self.size, self._grid(), *marks, self._ticks(), self._titles())

    def place(self, point: Range) -> Range:
        """Return the place of a point of numbers."""
        return self.x(point[0]), self.y(point[1])

    def _grid(self) -> Markup:
        across = [_line((self.x.start, self.y(tick)), (self.x.end, self.y(tick))) for tick in self.y.ticks]
        up = [_line((self.x(tick), self.y.start), (self.x(tick), self.y.end)) for tick in self.x.ticks]
        return tag("g", {"class": "grid"}, *across, *up)

    def _ticks(self) -> Markup:
        below, left = self.y.start + _LINE, self.x.start - 6
        along = [caption(tick_text(tick), self.x(tick), below, "middle") for tick in self.x.ticks]
        beside = [caption(tick_text(tick), left, self.y(tick) + 4, "end") for tick in self.y.ticks]
        return joined([*along, *beside])

    def _titles(self) -> Markup:
        middle = (self.x.start + self.x.end) / 2
        bottom = caption(self.x_title, middle, self.size[1] - 5, "middle", "axis")
        return joined([caption(self.y_title, 2, 13, "start", "axis"), bottom])


def axes(x: Range, y: Range, x_title: str, y_title: str, size: Range = SIZE, log_x: bool = False) -> Axes:
    """Return axes that fill a picture.

    Args:
        x: The numbers at both ends of the horizontal axis.
        y: The numbers at both ends of the vertical axis.
        x_title: Its title.
        y_title: Its title, above the axis.
        size: Width and height of the picture.
        log_x: Whether the horizontal axis is logarithmic.
    """
    up = Scale(*y, size[1] - 2.6 * _LINE, 1.6 * _LINE)
    left = 8 + _DIGIT * max(len(tick_text(tick)) for tick in up.ticks)
    return Axes((LogScale if log_x else Scale)(*x, left, size[0] - _END), up, x_title, y_title, size)


def path(points: Iterable[Range], style: str) -> Markup:
    """Return a line through places; ``style`` is its class in ``style.css``."""
    return tag("polyline", {"points": _points(points), "class": style})


def area(points: Iterable[Range], style: str) -> Markup:
    """Return a filled area with places as its corners."""
    return tag("polygon", {"points": _points(points), "class": style})


def dot(place: Range, style: str, radius: float = 4.0) -> Markup:
    """Return a dot."""
    return tag("circle", {"cx": place[0], "cy": place[1], "r": radius, "class": style})


def whisker(low: Range, high: Range, style: str = "interval") -> Markup:
    """Return a line from one place to another, as of an interval."""
    return tag("line", {"x1": low[0], "y1": low[1], "x2": high[0], "y2": high[1], "class": style})


def _line(start: Range, end: Range) -> Markup:
    return tag("line", {"x1": start[0], "y1": start[1], "x2": end[0], "y2": end[1]})


def _points(points: Iterable[Range]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
