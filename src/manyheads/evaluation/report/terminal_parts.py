"""Tables, numbers and labels as a terminal shows them."""

from __future__ import annotations

import io
from collections.abc import Iterable

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from manyheads.evaluation.metric_facts import METRICS
from manyheads.evaluation.report.wording import words

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


def shown(value: object) -> str:
    """Return a label, or a text, on one line."""
    if value is None:
        return "(missing)"
    parts = value if isinstance(value, tuple) else (value,)
    line = " ".join(" | ".join(map(str, parts)).split()) or "(empty)"
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}..."
