"""One line per head: its main metric beside its baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass

from markupsafe import Markup

from manyheads.evaluation.page.charts.compared import Compared, compared_chart
from manyheads.evaluation.page.names import BASELINES
from manyheads.evaluation.report.report import HeadReport
from manyheads.evaluation.report.wording import ends_of, number, words


@dataclass(frozen=True)
class Card:
    """The line of one head.

    Attributes:
        metric: The name of its main metric.
        value: The metric.
        interval: Its 95% interval, in words; empty without one.
        picture: Both, beside the baselines; ``None`` if the metric is undefined.
    """

    metric: str
    value: str
    interval: str
    picture: Markup | None


def card(head: HeadReport) -> Card:
    """Return the line of a head."""
    name, metric = head.main_metric, words(head.main_metric)
    ends, value = head.intervals.get(name), head.metrics[name]
    baselines = [Compared(BASELINES[one.name], one.metrics[name]) for one in head.baselines]
    lines = [line for line in (Compared("this head", value, ends), *baselines) if math.isfinite(line.value)]
    picture = compared_chart(metric, lines) if lines and math.isfinite(value) else None
    return Card(metric, number(value), "" if ends is None else f"95% interval {ends_of(ends)}", picture)
