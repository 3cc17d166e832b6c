"""Reliability diagram: what came true beside what was stated, with the band of chance."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from manyheads.evaluation.calibration import Calibration
from manyheads.evaluation.page.charts.kit.axes import Range, area, axes, dot, path


def reliability_diagram(found: Calibration) -> Markup:
    """Return the diagram: a dot per bin, on the diagonal if probabilities are right; the gray band holds 95% of the
    shares that would be seen then.
    """
    shown = axes((0, 1), (0, 1), "stated probability", "share that came true")
    dots = [shown.place((one.stated, one.true)) for one in found.bins]
    outside = sum(not one.band[0] <= one.true <= one.band[1] for one in found.bins)
    return shown.picture(
        "Reliability diagram",
        f"{len(found.bins)} bins of equally many {found.unit}. Mean probability {found.stated:.3f}, came true "
        f"{found.true:.3f}. {outside} of the bins are outside the 95% band of chance.",
        _band(found, shown.place),
        path([shown.place((0, 0)), shown.place((1, 1))], "reference"),
        path(dots, "curve"),
        *(dot(place, "mark") for place in dots),
    )


def _band(found: Calibration, place: Callable[[Range], Range]) -> Markup:
    lower = [place((one.stated, one.band[0])) for one in found.bins]
    upper = [place((one.stated, one.band[1])) for one in found.bins]
    return area([*lower, *reversed(upper)], "band")
