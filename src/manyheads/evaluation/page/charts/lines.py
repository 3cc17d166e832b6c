"""Lines over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.axes import Axes, Range, axes, dot, path
from manyheads.evaluation.page.charts.kit.scale import rounded_range
from manyheads.evaluation.page.charts.kit.svg import caption, joined

_STYLES = ("curve", "second")


def lines_over_epochs(title: str, lines: Mapping[str, Sequence[Range]]) -> Markup:
    """Return one or two lines.

    Args:
        title: What they show.
        lines: Name -> points (epoch, value), at least one.
    """
    epochs = [x for points in lines.values() for x, _ in points]
    values = [y for points in lines.values() for _, y in points]
    shown = axes((min(epochs), max(epochs)), rounded_range(values), "epoch", title)
    said = [f"{name}: {points[0][1]:.3f} at first, {points[-1][1]:.3f} at last" for name, points in lines.items()]
    drawn = [_line(shown, name, points, style) for (name, points), style in zip(lines.items(), _STYLES, strict=False)]
    return shown.picture(f"{title} by epoch", f"{'; '.join(said)}.", *drawn)


def _line(shown: Axes, name: str, points: Sequence[Range], style: str) -> Markup:
    places = [shown.place(point) for point in points]
    x, y = places[-1]
    return joined(
        [path(places, style), *(dot(place, f"{style} mark", 3) for place in places), caption(name, x, y - 8, "end")]
    )
