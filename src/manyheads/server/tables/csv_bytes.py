"""Blocks of a table as CSV."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.csv as pa_csv

from manyheads.data.tables.writing import flat_table


def csv_bytes(block: pa.Table, has_header: bool) -> bytes:
    """Return a block as CSV, as ``manyheads predict`` writes it.

    Cells are data and stay as they are, also those that a spreadsheet would take for a formula: a program that reads
    the file gets the cells that were sent.

    Args:
        block: Some rows.
        has_header: Whether the first line has the names of the columns.
    """
    buffer = io.BytesIO()
    pa_csv.write_csv(flat_table(block), buffer, pa_csv.WriteOptions(include_header=has_header))
    return buffer.getvalue()
