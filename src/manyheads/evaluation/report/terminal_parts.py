"""Tables, numbers and labels as a terminal shows them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from manyheads.evaluation.metric_facts import METRICS
from manyheads.evaluation.resamples import Interval

_WIDTH = 100
_MOST_CHARACTERS = 300
_WIDEST_TITLE = 12


def as_text(view: Iterable[RenderableType]) -> str:
    """Return parts as plain text, 100 characters wide."""
    console = Console(file=io.StringIO(), width=_WIDTH, highlight=False, color_system=None)
    for part in view:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def table(*titles: str, left: Iterable[str] = ()) -> Table:
    """Return an empty table with these columns, all but ``left`` aligned to the right."""
    found = Table(box=box.SIMPLE, pad_edge=False)
    for title in titles:
        if title in left:
            found.add_column(Text(title), overflow="fold")
        else:
            # A number that is broken into two lines would be misread; only a long title is.
            found.add_column(Text(title), justify="right", overflow="fold", no_wrap=len(title) <= _WIDEST_TITLE)
    return found


def formulas(metrics: Iterable[str]) -> Table:
    """Return the formula of each metric, each once."""
    found = Table(box=None, show_header=False, pad_edge=False)
    for name in dict.fromkeys(metrics):
        found.add_row(Text(words(name), style="dim"), Text(METRICS[name].formula, style="dim"))
    return found


def words(metric: str) -> str:
    """Return a metric's name as people read it."""
    return metric.replace("_", " ")


def number(value: float | None) -> str:
    """Return a number with three digits after the point, or four significant ones if it is large."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.4g}"


def shown(value: object) -> str:
    """Return a label, or a text, on one line."""
    if value is None:
        return "(missing)"
    parts = value if isinstance(value, tuple) else (value,)
    line = " ".join(" | ".join(map(str, parts)).split()) or "(empty)"
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."


def ends_of(ends: Interval | None) -> str:
    """Return the ends of an interval."""
    return "-" if ends is None else f"{number(ends.low)} to {number(ends.high)}"


def between(ends: Interval | None) -> str:
    """Return the ends of an interval of a share, in brackets."""
    return "" if ends is None else f" (95% interval {ends.low:.1%} to {ends.high:.1%})"
