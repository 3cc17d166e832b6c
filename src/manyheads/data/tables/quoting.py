"""How a CSV file uses quotes: as a standard says, as part of its texts, or with a backslash before them."""

from __future__ import annotations

import csv
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from manyheads.errors import DataError, InputWarning

STANDARD, LITERAL, BACKSLASH = "standard", "literal", "backslash"

_LARGEST_FIELD = 2**31 - 1


# Returns the lines of a file from its start, with their ends, without a byte-order mark.
Lines = Callable[[], Iterable[str]]


def find_quoting(lines: Lines, name: str, delimiter: str, header: str, width: int) -> str:
    """Return how a file uses quotes; anything but the standard use is told in a warning.

    Quotes belong to the texts if the standard reading breaks down (text follows a closing quote, or a quote is never
    closed) or joins several lines into one cell, while without quoting every line has as many cells as the header.

    Args:
        lines: The file, read once for each question that is asked about it.
        name: The table's name, for messages.
        delimiter: The text between cells.
        header: The header's record.
        width: Number of columns.

    Raises:
        DataError: quotes that can be read in no way, or in two.
    """
    problem, spans = _standard_problem(lines(), delimiter)
    if problem is None and spans is None:
        return STANDARD
    if problem is not None and _has_escaped(lines()) and _standard_problem(lines(), delimiter, escape="\\")[0] is None:
        warnings.warn(f"{name}: a backslash before a quote is read as an escaped quote", InputWarning, stacklevel=2)
        return BACKSLASH
    literal = '"' not in header and width > 1 and _is_even(lines(), delimiter, width)
    if problem is None and (not literal or (width == 2 and delimiter != "\t")):
        # Texts of several lines, in quotes as they should be.
        return STANDARD
    if not literal:
        raise DataError(f"{name}, {problem}; double a quote that belongs to the text, inside a quoted cell")
    warnings.warn(
        f"{name}: quotes are read as part of the texts, since {problem or spans}, and every line has {width} cells "
        "without quoting",
        InputWarning,
        stacklevel=2,
    )
    return LITERAL


def _standard_problem(lines: Iterable[str], delimiter: str, escape: str | None = None) -> tuple[str | None, str | None]:
    """Return where the standard reading breaks down, and a cell that spans lines; ``None`` for none of it."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True, escapechar=escape, doublequote=escape is None)
    spans, before = None, 0
    with unlimited_fields():
        try:
            for _ in reader:
                if spans is None and reader.line_num > before + 1:
                    spans = f"a cell would span the lines {before + 1} to {reader.line_num}"
                before = reader.line_num
        except csv.Error as error:
            if "unexpected end" in str(error):
                return f"line {before + 1}: the quote in it is never closed", spans
            return f"line {reader.line_num}: text follows a closing quote", spans
    return None, spans


def _has_escaped(lines: Iterable[str]) -> bool:
    return any('\\"' in line for line in lines)


def _is_even(lines: Iterable[str], delimiter: str, width: int) -> bool:
    return all(line.count(delimiter) == width - 1 for line in lines if line.strip("\r\n"))


class _FieldLimit:
    """The size limit of the ``csv`` module, one for all threads: lifted while any of them reads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._readers = 0
        self._before = 0

    def lift(self) -> None:
        """Lift the limit until every reader has restored it."""
        with self._guard:
            self._readers += 1
            if self._readers == 1:
                self._before = csv.field_size_limit(_LARGEST_FIELD)

    def restore(self) -> None:
        """Restore the limit if no other thread reads."""
        with self._guard:
            self._readers -= 1
            if not self._readers:
                csv.field_size_limit(self._before)


_FIELD_LIMIT = _FieldLimit()


@contextmanager
def unlimited_fields() -> Iterator[None]:
    """Let the ``csv`` module read cells of any size."""
    _FIELD_LIMIT.lift()
    try:
        yield
    finally:
        _FIELD_LIMIT.restore()
