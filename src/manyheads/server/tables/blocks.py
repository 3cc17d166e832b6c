"""Cut a table into blocks that are computed one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pyarrow as pa

from manyheads.data.tables.streams.stream import ERROR_COLUMN
from manyheads.server.engine import tokens_of

BLOCK_ROWS = 256


def blocks_of(rows: pa.Table, text: Sequence[str], tokens: int) -> list[pa.Table]:
    """Return a table as blocks of at most ``BLOCK_ROWS`` rows.

    Between two blocks the engine computes the work of other requests, so a block is about as large as their batches.

    Args:
        rows: The table; rows with an error are not computed.
        text: The columns of texts.
        tokens: About how many tokens a block has at most; a single row may have more.
    """
    edges = list(_edges(row_tokens(rows, text), tokens))
    return [rows.slice(start, stop - start) for start, stop in pairwise(edges)]


def row_tokens(rows: pa.Table, text: Sequence[str]) -> list[int]:
    """Return about how many tokens each row's texts have, 0 for a row with an error."""
    columns = [rows.column(name).to_pylist() for name in text]
    errors = rows.column(ERROR_COLUMN).to_pylist()
    return [
        0 if error is not None else sum(tokens_of(cell) for cell in cells if cell is not None)
        for error, *cells in zip(errors, *columns, strict=True)
    ]


def _edges(sizes: Sequence[int], tokens: int) -> Iterator[int]:
    """Yield the first row of each block, and the number of rows."""
    start, total = 0, 0
    yield start
    for row, size in enumerate(sizes):
        if row > start and (row - start == BLOCK_ROWS or total + size > tokens):
            start, total = row, 0
            yield start
        total += size
    yield len(sizes)
