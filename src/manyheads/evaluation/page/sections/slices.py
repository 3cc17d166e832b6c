"""Parts of the rows, the worst first."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.evaluation.metric_facts import METRICS
from manyheads.evaluation.page.blocks import Cell, Section, Table, folded_after
from manyheads.evaluation.page.charts.interval import interval_picture
from manyheads.evaluation.page.clean import label_text
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.wording import ends_of, number, words
from manyheads.evaluation.slices import LEAST_ROWS, Slice

_AT_ONCE, _MOST = 10, 60


def slices_section(subject: Subject) -> Section | None:
    """Return a table of the slices with a picture of each interval."""
    head = subject.head
    if not head.slices:
        return None
    metric, shown = head.slices[0].metric, head.slices[:_MOST]
    overall, span = head.metrics[metric], _span(shown, head.metrics[metric])
    rows = [_row(one, overall, span) for one in shown]
    columns = ["slice", "rows", words(metric), "95% interval", "beside all rows"]

    def table(some: Sequence[Sequence[Cell]]) -> Table:
        return Table("Slices, the worst first", columns, some)

    blocks = folded_after(_AT_ONCE, rows, table, "{} more")
    small = f" {head.small_slices} slices with fewer than {LEAST_ROWS} rows are left out." if head.small_slices else ""
    about = (
        f"Rows with the same value of a column, or of similar length. Of many slices some are worse by chance: see the "
        f"intervals. {words(metric).capitalize()}: {METRICS[metric].formula}; {number(overall)} for all rows.{small}"
    )
    return Section("Slices", about, blocks)


def _row(one: Slice, overall: float, span: tuple[float, float]) -> list[Cell]:
    name = f"{one.column}: {'(missing)' if one.value is None else label_text(one.value)}"
    picture = "" if one.score != one.score else interval_picture(one.score, one.interval, overall, span)
    return [name, f"{one.rows:,}", number(one.score), ends_of(one.interval), picture]


def _span(slices: Sequence[Slice], overall: float) -> tuple[float, float]:
    """Return the smallest and the largest number of all slices and their intervals."""
    ends = [end for one in slices if one.interval is not None for end in (one.interval.low, one.interval.high)]
    defined = [overall, *ends, *(one.score for one in slices if one.score == one.score)]
    return min(defined), max(defined)
