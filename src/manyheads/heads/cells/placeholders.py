"""Cells that stand for a missing label: words such as ``N/A``, and -100."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from manyheads.heads.cells.cells import is_missing
from manyheads.runtime.lists import plain
from manyheads.types import MISSING

# The words that pandas reads as missing, and two signs, in lower case.
WORDS = frozenset(
    {
        "na", "n/a", "nan", "none", "null", "<na>", "#na", "#n/a", "#n/a n/a", "-nan", "1.#ind", "-1.#ind", "1.#qnan",
        "-1.#qnan", "-", "--", "?",
    }
)  # fmt: skip


def without_placeholders(
    cells: Sequence[object], labels: Collection[object] = (), missing: Sequence[object] | None = None
) -> list[object]:
    """Return label cells with ``None`` for every cell that stands for a missing label.

    Args:
        cells: The cells.
        labels: Names of labels, which are never placeholders.
        missing: The cells that mean no label, besides empty ones; ``None`` for the usual words and -100.
    """
    names = {_text(label) for label in labels}
    given = None if missing is None else {_text(cell) for cell in missing}
    return [None if is_placeholder(cell, names, given) else cell for cell in cells]


def is_placeholder(cell: object, names: Collection[str] = (), missing: Collection[str] | None = None) -> bool:
    """Return whether a cell stands for a missing label.

    Args:
        cell: The cell.
        names: The texts of the labels, which are never placeholders; without labels, -100 is a number like others.
        missing: Texts that are; ``None`` for the usual ones.
    """
    if is_missing(cell):
        return True
    value = plain(cell)
    if not isinstance(value, str | int | float) or isinstance(value, bool) or _text(value) in names:
        return False
    if missing is not None:
        return _text(value) in missing
    return value.strip().casefold() in WORDS if isinstance(value, str) else bool(names) and value == MISSING


def _text(value: object) -> str:
    return str(plain(value)).strip()
