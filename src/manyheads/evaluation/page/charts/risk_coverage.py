"""Risk-coverage curve: errors among the answered rows, for every share of rows that is answered."""

from __future__ import annotations

from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.axes import axes, dot, path
from manyheads.evaluation.page.charts.kit.scale import rounded_range
from manyheads.evaluation.page.charts.kit.svg import caption
from manyheads.evaluation.risk_coverage import RISK, RiskCoverage


def risk_coverage_curve(found: RiskCoverage, answered: tuple[float, float] | None) -> Markup:
    """Return the curve.

    Args:
        found: The curve's points.
        answered: The share of rows that the head's decision answers, and of errors among them; ``None`` if it never
            abstains.
    """
    errors = [*found.risk, RISK, *(() if answered is None else answered[1:])]
    shown = axes((0, 1), (0, rounded_range(errors, from_zero=True)[1]), "share of rows answered", "share of errors")
    points = [shown.place(point) for point in zip(found.coverage, found.risk, strict=True)]
    chosen = [] if answered is None else [_marked(shown.place(answered), "its decision")]
    level = shown.y(RISK)
    return shown.picture(
        "Risk-coverage curve",
        f"With at most {RISK:.0%} errors, {found.coverage_at_risk:.1%} of the rows can be answered; answering all rows "
        f"gives {found.risk[-1]:.1%} errors." + ("" if answered is None else _said(answered)),
        path([(shown.x.start, level), (shown.x.end, level)], "reference"),
        path(points, "curve"),
        caption(f"{RISK:.0%} errors", shown.x.start + 4, level - 4, "start", "tick halo"),
        *chosen,
    )


def _said(answered: tuple[float, float]) -> str:
    return f" The head's decision answers {answered[0]:.1%} of the rows with {answered[1]:.1%} errors."


def _marked(place: tuple[float, float], text: str) -> Markup:
    x, y = place
    return dot(place, "chosen", 5.5) + caption(text, x - 9, y - 9, "end", "note")
