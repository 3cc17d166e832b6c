"""Infer a head's kind and labels from the values of a column."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from manyheads.data.inferring.column import Inferred, LabelColumn, few
from manyheads.data.inferring.separators import find_separator, seen_separator
from manyheads.data.inferring.words import infer_words
from manyheads.data.tables.table import read_table
from manyheads.heads import HeadSpec
from manyheads.heads.cells.cells import is_missing, split_labels
from manyheads.heads.cells.label_text import number_of
from manyheads.heads.cells.multi_hot import multi_hot_width
from manyheads.heads.cells.numbers import ambiguous_comma, has_decimal_commas
from manyheads.heads.cells.placeholders import is_placeholder
from manyheads.heads.cells.shares import is_shares, shares_in
from manyheads.heads.cells.word_labels import is_spans, is_tags
from manyheads.runtime.lists import is_list, plain
from manyheads.types import MISSING

logger = logging.getLogger("manyheads")

# How far the sum of shares may be from one: percentages are often rounded.
_ROUNDED = 0.02


class InferredHeads(dict[str, HeadSpec]):
    """Column name -> head spec, with the reasons in ``rules``."""

    def __init__(self, inferred: dict[str, Inferred]) -> None:
        super().__init__({name: item.spec for name, item in inferred.items()})
        self.rules = tuple(item.rule for item in inferred.values())


def infer_heads(
    data: object,
    columns: str | Sequence[str],
    missing: Sequence[object] | None = None,
    separator: str | None = None,
) -> InferredHeads:
    """Return one head spec per label column, chosen from the column's values.

    Strings, bools and integers with few distinct values become ``Multiclass``, ordered categories ``Ordinal``. Lists,
    texts of lists, labels with a separator between them and lists of zeros and ones become ``MultiLabel``. Mappings of
    labels to numbers become ``Multiclass`` if the numbers add up to one or are votes, else ``MultiLabel``. Floats and
    other integers become ``Regression``. Lists of tags and lists of spans become ``Tokens``. Missing cells are skipped.
    ``Count`` is never inferred: name it.

    Args:
        data: A table, as in ``train``.
        columns: Names of the label columns.
        missing: The cells that mean no label, besides empty ones. By default, these are -100 among integer classes and
            the words that pandas reads as missing (``NA``, ``null``, ...); an empty list keeps all of them as labels.
        separator: The text between several labels of a cell. By default, it is found: parts that recur in other cells.

    Returns:
        A dict from column to spec; its ``rules`` contain one sentence per column.

    Raises:
        DataError: the table cannot be read, or has no such column.
        LabelError: a column that no head can be trained on.

    Examples:
        >>> heads = mh.infer_heads(table, ["urgency", "age", "symptoms"])
        >>> [type(head).__name__ for head in heads.values()]
        ['Multiclass', 'Regression', 'MultiLabel']
    """
    table = read_table(data)
    names = [columns] if isinstance(columns, str) else list(columns)
    texts = [table.values(name) for name in table.columns if name not in names]
    inferred = {
        name: infer_column(name, table.values(name), table.name, missing, separator, table.order_of(name), texts)
        for name in names
    }
    for item in inferred.values():
        logger.info(item.rule)
    return InferredHeads(inferred)


def explain(inferred: InferredHeads) -> list[str]:
    """Return one sentence per column: its values, and the head inferred from them."""
    return list(inferred.rules)


def infer_column(
    name: str,
    values: Sequence[object],
    source: str,
    missing: Sequence[object] | None = None,
    separator: str | None = None,
    order: Sequence[object] | None = None,
    texts: Sequence[Sequence[object]] = (),
) -> Inferred:
    """Return the head inferred from one column's values.

    Args:
        name: The column's name.
        values: Its cells; missing ones are ignored.
        source: The table's name, for messages.
        missing: As in ``infer_heads``.
        separator: As in ``infer_heads``.
        order: All categories in their order, if the column has one.
        texts: The cells of every column besides the label columns, which may be the texts.

    Raises:
        LabelError: only missing cells, one class only, mixed types, or free text; it names the column.
    """
    present = {row: plain(cell) for row, cell in enumerate(values, start=1) if not is_missing(cell)}
    given = None if missing is None else {str(plain(cell)).strip() for cell in missing}
    placeholders = {row for row, cell in present.items() if _means_no_label(cell, given, order)}
    if given is None and placeholders and all(isinstance(present[row], int) for row in placeholders):
        # -100 means no label among classes, and is a number among numbers.
        classes = [cell for row, cell in present.items() if row not in placeholders]
        placeholders = placeholders if all(isinstance(cell, int) and cell >= -1 for cell in classes) else set()
    cells = {row: cell for row, cell in present.items() if row not in placeholders}
    counts = Counter(present[row] for row in placeholders)
    column = LabelColumn(name, source, cells, len(values), missing, counts, separator, order, texts)
    if not cells:
        raise column.error(f"all {len(values)} cells are empty; name another column, or fill in some labels")
    if order is not None:
        return column.ordinal(order)
    return _RULES[_kind(column)](column)


def _means_no_label(cell: object, missing: set[str] | None, order: Sequence[object] | None) -> bool:
    return is_placeholder(cell, {str(label) for label in order or ()} or {""}, missing)


def _kind(column: LabelColumn) -> str:
    """Return the one type that all cells have.

    Raises:
        LabelError: they have several, or one that no label has.
    """
    rows: dict[str, int] = {}
    for row, cell in column.cells.items():
        rows.setdefault(_kind_of(cell), row)
    if "other" in rows:
        cell = column.cells[rows["other"]]
        keys = f" with the keys {sorted(map(str, cell))}" if isinstance(cell, dict) else ""
        raise column.error(
            f"row {rows['other']} contains {repr(cell)[:40]} ({type(cell).__name__}){keys}; a label is a string, a "
            "number, a bool, a list of them, a mapping of labels to numbers, or a list of spans with 'start', 'end' "
            "and 'label'; convert the column"
        )
    kinds = set(rows)
    if kinds == {"integers", "floats"}:
        return "floats"
    if kinds == {"lists", "strings"}:
        return "lists"
    if kinds == {"mappings", "strings"}:
        return "mappings"
    if len(kinds) > 1:
        seen = " and ".join(f"{kind} (row {row})" for kind, row in rows.items())
        raise column.error(f"mixes {seen}; convert its cells to one type")
    return kinds.pop()


def _kind_of(cell: object) -> str:
    if isinstance(cell, bool):
        return "bools"
    if isinstance(cell, str):
        return "strings"
    if is_list(cell) or (isinstance(cell, dict) and (is_spans(cell) or cell.get("entities") == [])):
        return "lists"
    if isinstance(cell, Mapping) and is_shares(cell):
        return "mappings"
    for type_, kind in ((int, "integers"), (float, "floats")):
        if isinstance(cell, type_):
            return kind
    return "other"


def _from_bools(column: LabelColumn) -> Inferred:
    return column.multiclass(column.cells.values(), "bools")


def _from_integers(column: LabelColumn) -> Inferred:
    values = list(column.cells.values())
    return column.multiclass(values, "integers") if few(values) else column.regression("integers", values)


def _from_floats(column: LabelColumn) -> Inferred:
    values = [float(value) for value in column.cells.values() if isinstance(value, int | float)]
    for row, value in zip(column.cells, values, strict=True):
        if not math.isfinite(value):
            raise column.error(f"row {row} contains {value!r}; correct it, or leave the cell empty")
    # An integer column with gaps is a float column in pandas, and in the CSV files that pandas writes.
    whole = column.has_gaps and all(value.is_integer() for value in values)
    values = [value for value in values if value != MISSING] if whole and column.missing is None else values
    if whole and few(values):
        return column.multiclass([int(value) for value in values], "whole numbers (floats, since cells are missing)")
    return column.regression("floats", values)


def _from_lists(column: LabelColumn) -> Inferred:
    words = infer_words(column)
    if words is not None:
        return words
    width = multi_hot_width(list(column.cells.values()))
    if width is not None:
        return column.multi_hot(width)
    parts: list[list[object]] = []
    for row, cell in column.cells.items():
        labels = [label for label in split_labels(cell, column.separator or "|") if not is_missing(label)]
        for label in labels:
            if not isinstance(label, str | int):
                raise column.error(
                    f"row {row} contains a list with {repr(label)[:40]} ({type(label).__name__}); its items must be "
                    "strings or integers"
                )
        parts.append(labels)
    if len({str if isinstance(label, str) else type(label) for row in parts for label in row}) > 1:
        raise column.error("its lists mix labels of several types; convert them to one type")
    return column.multilabel(parts, "lists of labels", column.separator or "|")


def _from_strings(column: LabelColumn) -> Inferred:
    texts = [str(cell).strip() for cell in column.cells.values()]
    if all(is_list(text) or is_spans(text) or is_tags(text) for text in texts):
        return _from_lists(column)
    if any(is_shares(text) for text in texts):
        return _from_mappings(column)
    numbers = _from_commas(column, texts) if column.separator is None else None
    if numbers is not None:
        return numbers
    separator = column.separator or find_separator(texts)
    if separator is not None:
        shown = repr(separator) if column.separator else f"{separator!r} (see separator=)"
        parts = [split_labels(text, separator) for text in texts]
        return column.multilabel(parts, f"labels separated by {shown}", separator)
    if all(number_of(text) is not None for text in texts):
        return _from_numeric_strings(column, texts)
    return _from_names(column, texts)


def _from_mappings(column: LabelColumn) -> Inferred:
    found = [(cell, shares_in(cell)) for cell in column.cells.values()]
    rows = [{cell: 1} if shares is None else shares for cell, shares in found]
    labels = [label for row in rows for label in row]
    if len({str if isinstance(label, str) else type(label) for label in labels}) > 1:
        raise column.error("its mappings mix labels of several types; convert them to one type")
    if not labels:
        raise column.error("its mappings name no label; name another column, or fill in some shares")
    column.check_repeats(labels)
    sums = [sum(map(float, row.values())) for row in rows if row]  # type: ignore[arg-type]
    largest = max(float(share) for row in rows for share in row.values())  # type: ignore[arg-type]
    if largest > 1 or all(abs(total - 1) <= _ROUNDED for total in sums):
        return column.multiclass(labels, "labels with shares")
    return column.multilabel([list(row) for row in rows], "labels with probabilities")


def _from_numeric_strings(column: LabelColumn, texts: Sequence[str]) -> Inferred:
    integers = all(text.lstrip("+-").isdigit() for text in texts)
    gaps = column.has_gaps and all(float(text).is_integer() for text in texts)
    if (integers or gaps) and few(texts):
        # "1.0" is how pandas writes 1 in a column with gaps.
        names = texts if integers else [str(int(float(text))) for text in texts]
        return column.multiclass(names, "integers, as strings" if integers else "whole numbers, as strings")
    return column.regression("numbers, as strings", texts)


def _from_commas(column: LabelColumn, texts: Sequence[str]) -> Inferred | None:
    if has_decimal_commas(texts):
        return column.regression("numbers with decimal commas", texts)
    either = ambiguous_comma(texts)
    if either is None:
        return None
    raise column.error(
        f"{either!r} may be {either.replace(',', '')} or {either.replace(',', '.')}; write numbers without commas"
    )


def _from_names(column: LabelColumn, texts: Sequence[str]) -> Inferred:
    column.check_repeats(texts)
    inferred = column.multiclass(texts, "strings")
    seen = seen_separator(texts)
    if seen is None:
        return inferred
    remark = f"some cells contain {seen!r}; separator={seen!r} reads them as several labels"
    return Inferred(inferred.spec, f"{inferred.rule}; {remark}")


_RULES = {
    "bools": _from_bools,
    "integers": _from_integers,
    "floats": _from_floats,
    "lists": _from_lists,
    "mappings": _from_mappings,
    "strings": _from_strings,
}
