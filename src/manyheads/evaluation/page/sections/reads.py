"""What a head reads, and how well each layer explains its labels."""

from __future__ import annotations

from manyheads.evaluation.page.blocks import Pictures, Section, Sentences
from manyheads.evaluation.page.charts.bars import bars
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.searched import explained_by_tap, tap_name

_LEGEND = (
    "Share of the labels' variance that each layer explains with its best pooling, and the words of the text: 1 - error "
    "of ridge regression that predicts each training row from all others. Layer -1 is the last."
)


def reads_section(subject: Subject) -> Section | None:
    """Return the taps, and the chart of the search if there was one."""
    if subject.made is None:
        return None
    taps = Sentences([f"It reads {' + '.join(tap_name(tap) for tap in subject.made.reads)}."])
    rows = explained_by_tap(subject.made.summary.get("tried", []), subject.made.reads)
    found = [Pictures([bars("Labels explained by each layer", rows)], _LEGEND)] if rows else []
    return Section("What it reads", "", [taps, *found])
