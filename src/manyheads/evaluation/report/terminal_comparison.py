"""A comparison for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from manyheads.evaluation.report.terminal_parts import formulas, table
from manyheads.evaluation.report.wording import ends_of, number, words

if TYPE_CHECKING:
    from manyheads.evaluation.compare import Comparison, Difference


def comparison_view(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the parts of a comparison."""
    first, second = comparison.names
    yield Text(f"{first} and {second} on the same rows of {comparison.source}; difference = {second} - {first}.")
    for head in dict.fromkeys(one.head for one in comparison.differences):
        own = [one for one in comparison.differences if one.head == head]
        yield Text(f"{head}: {own[0].rows:,} labelled rows", style="bold")
        yield _of_head(own, first, second)
    if comparison.left_out:
        yield Text(f"Only one of the two has: {', '.join(comparison.left_out)}.")
    yield Text(
        "'better' is named where the 95% interval of the difference, from 1,000 resamples of the texts that both "
        f"share, does not contain 0. Of 20 metrics that do not differ, one is expected there by chance; here are "
        f"{len(comparison.differences)}. What the measures mean:"
    )
    yield formulas(one.metric for one in comparison.differences)


def _of_head(differences: Sequence[Difference], first: str, second: str) -> Table:
    found = table("metric", first, second, "difference", "95% interval", "better", left=("metric",))
    for one in differences:
        better = {"first": first, "second": second, None: "-"}[one.better]
        values = [number(one.first), number(one.second), f"{one.difference:+.3f}", ends_of(one.interval), better]
        found.add_row(*map(Text, [words(one.metric), *values]))
    return found
