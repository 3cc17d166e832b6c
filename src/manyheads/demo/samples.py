"""The embedded samples: where they lie, and how they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from manyheads.data.table import Table, read_table

HELD_OUT = 0.2


def occupation_tasks() -> Table:
    """Return 3,000 O*NET task statements: ``text``, ``occupation_group`` (22), ``activity`` (37)."""
    return _read("occupation_tasks.csv")


def diagnoses() -> Table:
    """Return 8,000 ICD-10-CM diagnoses: ``text``, ``chapter`` (22), ``billable`` (``"0"`` or ``"1"``)."""
    return _read("diagnoses.csv")


def split(table: Table, rows: int | None = None) -> tuple[Table, Table]:
    """Return the rows to train on and the last fifth, held out; the samples are shuffled and repeat no text.

    Args:
        table: A sample.
        rows: How many of its rows to take; all by default.
    """
    count = table.rows if rows is None else min(rows, table.rows)
    cut = count - round(HELD_OUT * count)
    return table.select(range(cut)), table.select(range(cut, count))


def texts_of(table: Table) -> list[str]:
    """Return the ``text`` column."""
    return [str(text) for text in table.values("text")]


def rows_of(table: Table, columns: Sequence[str]) -> list[dict[str, object]]:
    """Return some columns as a list of dicts."""
    cells = [table.values(column) for column in columns]
    return [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]


def _read(name: str) -> Table:
    with resources.as_file(resources.files("manyheads.demo") / "samples" / name) as path:
        return read_table(path)
