"""A comparison for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from manyheads.evaluation.report.terminal_parts import formulas, table
from manyheads.evaluation.report.wording import ends_of, number, words

if TYPE_CHECKING:
    from manyheads.evaluation.compare import Comparison


def comparison_view(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the parts of a comparison."""
    first, second = comparison.names
    yield Text(f"{first} and {second} on the same rows of {comparison.source}; difference = {second} - {first}.")
    found = table(
        "head", "rows", "metric", first, second, "difference", "95% interval", "better", left=("head", "metric")
    )
    for one in comparison.differences:
        better = {"first": first, "second": second, None: "-"}[one.better]
        values = [number(one.first), number(one.second), f"{one.difference:+.3f}", ends_of(one.interval), better]
        cells = [one.head if one.main else "", f"{one.rows:,}" if one.main else "", words(one.metric), *values]
        found.add_row(*map(Text, cells))
    yield found
    if comparison.left_out:
        yield Text(f"Only one of the two has: {', '.join(comparison.left_out)}.")
    yield Text(
        "'better' is named where the 95% interval of the difference, from 1,000 resamples of the texts that both "
        f"share, does not contain 0. Of 20 metrics that do not differ, one is expected there by chance; here are "
        f"{len(comparison.differences)}. What the measures mean:"
    )
    yield formulas(one.metric for one in comparison.differences)
