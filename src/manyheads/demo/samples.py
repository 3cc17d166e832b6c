"""The embedded samples: where they lie, and how they are cut."""

from __future__ import annotations

import csv
import io
from importlib import resources

Rows = list[dict[str, object]]

HELD_OUT = 0.2


def occupation_tasks() -> Rows:
    """Return 3,000 O*NET task statements: ``text``, ``occupation_group`` (22), ``activity`` (37)."""
    return _read("occupation_tasks.csv")


def diagnoses() -> Rows:
    """Return 8,000 ICD-10-CM diagnoses: ``text``, ``chapter`` (22), ``billable`` (0 or 1)."""
    return [{**row, "billable": int(str(row["billable"]))} for row in _read("diagnoses.csv")]


def split(rows: Rows, count: int | None = None) -> tuple[Rows, Rows]:
    """Return rows to train on and the last fifth, held out; the samples are shuffled and repeat no text.

    Args:
        rows: A sample.
        count: How many of its rows to take; all by default.
    """
    taken = rows[:count]
    cut = len(taken) - round(HELD_OUT * len(taken))
    return taken[:cut], taken[cut:]


def texts_of(rows: Rows) -> list[str]:
    """Return the texts."""
    return [str(row["text"]) for row in rows]


def labels_of(rows: Rows, column: str) -> list[object]:
    """Return one column's labels."""
    return [row[column] for row in rows]


def _read(name: str) -> Rows:
    path = resources.files("manyheads.demo") / "samples" / name
    return [dict(row) for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))]
