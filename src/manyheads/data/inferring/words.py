"""Columns of tags, one per word, and of spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from manyheads.data.inferring.column import Inferred, LabelColumn
from manyheads.data.texts.words import find_words
from manyheads.heads.cells.entities import OUTSIDE_TAG, has_bare_tags, scheme_of, types_of
from manyheads.heads.cells.placeholders import is_placeholder
from manyheads.heads.cells.spans import LabelSpan, listed_items
from manyheads.heads.cells.word_labels import is_tags, parsed
from manyheads.runtime.lists import is_list, list_items
from manyheads.runtime.words import WORD_RULES


def infer_words(column: LabelColumn) -> Inferred | None:
    """Return a token head for spans or for tags of words, or ``None`` for other cells.

    Raises:
        LabelError: a list of objects or of lists that are not spans, or tags that do not match the words of some rows.
    """
    if not any(_has_objects(cell) for cell in column.cells.values()):
        return _from_tags(column)
    spans = [item for row, cell in column.cells.items() for item in parsed(cell, _place(column, row))]
    return column.tokens([span.label for span in spans if isinstance(span, LabelSpan)], "lists of spans")


def _place(column: LabelColumn, row: int) -> str:
    return f"{column.source}, column {column.name!r}, row {row}"


def _has_objects(cell: object) -> bool:
    """Return whether a cell has the form of a list of spans, but perhaps not their parts."""
    items = None if is_tags(cell) else listed_items(cell)
    return any(isinstance(item, Mapping | list | tuple) for item in items or ())


def _from_tags(column: LabelColumn) -> Inferred | None:
    rows = {row: _tags(cell) for row, cell in column.cells.items()}
    # Any name will do: beside labels, -100 is a placeholder.
    tags = [tag for items in rows.values() for tag in items if not is_placeholder(tag, (OUTSIDE_TAG,))]
    if has_bare_tags(tags):
        raise column.error("its tags are letters without a type, such as 'B'; write them as 'B-term'")
    scheme = scheme_of(tags)
    counts = _word_counts(column, rows)
    words = next((rule for rule, found in counts if _fits(found, rows)), None)
    if scheme is not None:
        return column.tokens(types_of(tags) or (), f"lists of {scheme} tags", words or WORD_RULES[0])
    if len(set(tags)) < 2 or not _are_labels(tags, rows):
        return None
    if words is None and not _are_outside(rows):
        _check_rows(column, rows, [found for _, found in counts])
        return None
    if OUTSIDE_TAG in tags:
        types = [tag for tag in tags if tag != OUTSIDE_TAG]
        return column.tokens(types, "lists of IO tags", words or WORD_RULES[0])
    return column.word_labels(tags, words or WORD_RULES[0])


def _tags(cell: object) -> list[object]:
    if is_tags(cell):
        return list(str(cell).split())
    return list_items(cell) if is_list(cell) else []


def _are_labels(tags: Sequence[object], rows: Mapping[int, Sequence[object]]) -> bool:
    """Return whether tags are all strings, or all integers in lists of several lengths: others may be multi-hot."""
    if all(isinstance(tag, str) for tag in tags):
        return True
    lengths = {len(items) for items in rows.values()}
    return len(lengths) > 1 and all(isinstance(tag, int) and not isinstance(tag, bool) for tag in tags)


def _are_outside(rows: Mapping[int, Sequence[object]]) -> bool:
    """Return whether some cell contains the tag ``O`` twice, as labels of a text do not."""
    return any(items.count(OUTSIDE_TAG) > 1 for items in rows.values())


def _word_counts(column: LabelColumn, rows: Mapping[int, object]) -> list[tuple[str, dict[int, int]]]:
    """Return the number of words of each labelled row, for every column that may be the text and every rule."""
    found = []
    for cells in column.texts:
        own = {row: cells[row - 1] for row in rows}
        if all(is_list(cell) for cell in own.values()):
            found.append((WORD_RULES[0], {row: len(list_items(cell)) for row, cell in own.items()}))
        elif all(isinstance(cell, str) for cell in own.values()):
            for rule in WORD_RULES:
                found.append((rule, {row: len(find_words(str(cell), rule)) for row, cell in own.items()}))
    return found


def _fits(counts: Mapping[int, int], rows: Mapping[int, Sequence[object]]) -> bool:
    """Return whether all lists are as long as the words of their rows, and some are longer than one."""
    return all(len(items) == counts[row] for row, items in rows.items()) and any(
        len(items) > 1 for items in rows.values()
    )


def _check_rows(column: LabelColumn, rows: Mapping[int, Sequence[object]], counts: Sequence[Mapping[int, int]]) -> None:
    """Check that lists are not as long as the words of their rows in most rows, but not in all.

    Raises:
        LabelError: they are; it names the first other row.
    """
    long = {row: items for row, items in rows.items() if len(items) > 1}
    right = [Counter(len(items) == found[row] for row, items in long.items())[True] for found in counts]
    if not right or max(right) < 2 or 2 * max(right) <= len(long):
        return
    found = counts[right.index(max(right))]
    row = next(row for row, items in rows.items() if len(items) != found[row])
    raise column.error(
        f"row {row} has {len(rows[row])} labels for {found[row]} words, and most rows have one per word; correct the "
        "row, or make the head yourself: MultiLabel(labels=[...])"
    )
