"""Named bars of shares."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.svg import caption, joined, picture, tag
from manyheads.evaluation.page.charts.kit.text_width import fitted, text_width

_WIDTH, _ROW, _NAME_WIDTH = 380.0, 19.0, 150.0


def bars(title: str, rows: Sequence[tuple[str, float]]) -> Markup:
    """Return one bar per row, with its share in percent.

    Args:
        title: What they show.
        rows: Names and shares, at least one.
    """
    names = [fitted(name, _NAME_WIDTH) for name, _ in rows]
    left = 8 + max(map(text_width, names))
    most = max(max(share for _, share in rows), 1e-9)
    best = max(rows, key=lambda row: row[1])
    unit = (_WIDTH - left - 52) / most
    drawn = [
        _bar(name, share, place * _ROW, left, unit)
        for place, (name, (_, share)) in enumerate(zip(names, rows, strict=True))
    ]
    description = f"{len(rows)} bars; the longest is {best[0]} with {best[1]:.1%}."
    return picture(title, description, (_WIDTH, len(rows) * _ROW + 4), *drawn)


def _bar(name: str, share: float, top: float, left: float, unit: float) -> Markup:
    width, text = max(share, 0.0) * unit, top + 14
    bar = tag("rect", {"x": left, "y": top + 3, "width": width, "height": _ROW - 5, "rx": 2, "class": "bar"})
    return joined(
        [caption(name, left - 6, text, "end"), bar, caption(f"{share:.1%}", left + width + 5, text, "start", "value")]
    )
