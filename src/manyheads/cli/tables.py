"""Tables for the command line: input files and metrics."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from manyheads.data.tables.table import Table, read_stream, read_table
from manyheads.errors import DataError
from manyheads.heads import Head


def metric_lines(metrics: Mapping[str, float | None]) -> str:
    """Return a head's metrics for a terminal, one per line."""
    shown = {name: value for name, value in metrics.items() if name != "rows" and value is not None}
    width = max(map(len, shown), default=0)
    return "\n".join(f"{name.replace('_', ' '):{width}} {value:.3f}" for name, value in shown.items())


def read_input(data: str, file_format: str) -> Table:
    """Read a file, or standard input for ``-``."""
    return read_stream(sys.stdin.buffer, file_format) if data == "-" else read_table(data)


def text_columns(given: Sequence[str] | None, heads: Iterable[Head], data: str) -> str | tuple[str, ...]:
    """Return the text columns of the option, or else those that the heads were trained on.

    Args:
        given: The value of ``--text``.
        heads: The heads.
        data: The table, for messages.

    Raises:
        DataError: neither names one.
    """
    if given:
        return given[0] if len(given) == 1 else tuple(given)
    known = {json.dumps(head.summary["text"]) for head in heads if "text" in head.summary}
    if len(known) != 1:
        raise DataError(f"{data}: the model does not record which column contains the text; name it with --text")
    columns: str | list[str] = json.loads(known.pop())
    return columns if isinstance(columns, str) else tuple(columns)
