"""Columns of tags, one per word, and of spans."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.data.inferring.column import Inferred, LabelColumn
from manyheads.heads.cells.entities import OUTSIDE_TAG, scheme_of, types_of
from manyheads.heads.cells.placeholders import is_placeholder
from manyheads.heads.cells.spans import LabelSpan
from manyheads.heads.cells.word_labels import is_spans, parsed
from manyheads.runtime.lists import is_list, list_items


def infer_words(column: LabelColumn) -> Inferred | None:
    """Return a token head for spans or for tags of words, or ``None`` for other cells."""
    if not _all_spans(column):
        return _from_tags(column)
    spans = [item for row, cell in column.cells.items() for item in parsed(cell, f"row {row}")]
    return column.tokens([span.label for span in spans if isinstance(span, LabelSpan)], "lists of spans")


def _all_spans(column: LabelColumn) -> bool:
    cells = list(column.cells.values())
    found = [is_spans(cell) for cell in cells]
    return any(found) and all(spans or _is_empty(cell) for spans, cell in zip(found, cells, strict=True))


def _is_empty(cell: object) -> bool:
    return (is_list(cell) and not list_items(cell)) or (isinstance(cell, dict) and not cell.get("entities"))


def _from_tags(column: LabelColumn) -> Inferred | None:
    rows = {row: list_items(cell) for row, cell in column.cells.items() if is_list(cell)}
    if len(rows) < len(column.cells):
        return None
    # Any name will do: beside labels, -100 is a placeholder.
    tags = [tag for items in rows.values() for tag in items if not is_placeholder(tag, (OUTSIDE_TAG,))]
    scheme = scheme_of(tags)
    if scheme is not None:
        return column.tokens(types_of(tags) or (), f"lists of {scheme} tags")
    if not tags or not all(isinstance(tag, str) for tag in tags) or not _is_per_word(column, rows):
        return None
    if OUTSIDE_TAG in tags:
        return column.tokens([tag for tag in tags if tag != OUTSIDE_TAG], "lists of IO tags")
    return column.word_labels(tags) if len(set(tags)) > 1 else None


def _is_per_word(column: LabelColumn, rows: dict[int, list[object]]) -> bool:
    """Return whether the lists are as long as the words of another column, in every row."""
    long = any(len(items) > 1 for items in rows.values())
    return long and any(_fits(counts, rows) for counts in column.word_counts)


def _fits(counts: Sequence[int], rows: dict[int, list[object]]) -> bool:
    return all(len(items) == counts[row - 1] for row, items in rows.items())
