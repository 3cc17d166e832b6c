"""How quotes are read."""

from __future__ import annotations

import csv

from manyheads.data.tables.quoting import unlimited_fields


def test_a_reader_that_ends_leaves_large_cells_to_the_other() -> None:
    before = csv.field_size_limit()
    one, other = unlimited_fields(), unlimited_fields()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert next(csv.reader(["a" * (before + 1)])) == ["a" * (before + 1)]
    other.__exit__(None, None, None)
    assert csv.field_size_limit() == before
