"""Tables for the command line: input files and metrics."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from manyheads.data.tables.table import Table, read_stream, read_table


def metric_lines(metrics: Mapping[str, float | None]) -> str:
    """Return a head's metrics for a terminal, one per line."""
    shown = {name: value for name, value in metrics.items() if name != "rows" and value is not None}
    width = max(map(len, shown), default=0)
    return "\n".join(f"{name.replace('_', ' '):{width}} {value:.3f}" for name, value in shown.items())


def read_input(data: str, file_format: str) -> Table:
    """Read a file, or standard input for ``-``."""
    return read_stream(sys.stdin.buffer, file_format) if data == "-" else read_table(data)
