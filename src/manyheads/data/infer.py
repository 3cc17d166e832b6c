"""Infer a head's kind and labels from the values of a column."""

from __future__ import annotations

import logging
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.data.tables.table import read_table
from manyheads.errors import LabelError, listed
from manyheads.heads import HeadSpec, Multiclass, MultiLabel, Regression, Tokens
from manyheads.heads.cells.cells import is_json_list, is_missing, plain, split_labels
from manyheads.heads.cells.entities import is_tag, types_of
from manyheads.heads.cells.word_labels import is_spans, parsed

MOST_INTEGER_CLASSES = 20
MOST_DISTINCT_STRINGS = 50

logger = logging.getLogger("manyheads")

_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Inferred:
    """A head spec, and the rule that chose it.

    Attributes:
        spec: The head.
        rule: One sentence, such as ``'billable': 2 distinct integers -> Multiclass(2 labels)``.
    """

    spec: HeadSpec
    rule: str


class InferredHeads(dict[str, HeadSpec]):
    """Column name -> head spec, with the reasons in ``rules``."""

    def __init__(self, inferred: dict[str, Inferred]) -> None:
        super().__init__({name: item.spec for name, item in inferred.items()})
        self.rules = tuple(item.rule for item in inferred.values())


def infer_heads(data: object, columns: str | Sequence[str]) -> InferredHeads:
    """Return one head spec per label column, chosen from the column's values.

    Strings, bools and integers with few distinct values become ``Multiclass``. Lists, JSON lists and ``a|b`` become
    ``MultiLabel``. Floats and other integers become ``Regression``. Lists of BIO tags and lists of spans become
    ``Tokens``. Missing cells are skipped. ``Ordinal`` and ``Count`` are never inferred: name them.

    Args:
        data: A table, as in ``train``.
        columns: Names of the label columns.

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
    inferred = {name: infer_column(name, table.values(name), table.name) for name in names}
    for item in inferred.values():
        logger.info(item.rule)
    return InferredHeads(inferred)


def explain(inferred: InferredHeads) -> list[str]:
    """Return one sentence per column: its values, and the head inferred from them."""
    return list(inferred.rules)


def infer_column(name: str, values: Sequence[object], source: str) -> Inferred:
    """Return the head inferred from one column's values.

    Args:
        name: The column's name.
        values: Its cells; missing ones are ignored.
        source: The table's name, for messages.

    Raises:
        LabelError: only missing cells, one class only, mixed types, or free text; it names the column.
    """
    cells = {row: plain(cell) for row, cell in enumerate(values, start=1) if not is_missing(cell)}
    column = _Column(name, source, cells, has_gaps=len(cells) < len(values))
    if not cells:
        raise column.refusal(f"all {len(values)} cells are empty. Name another column, or fill in some labels.")
    return _RULES[_kind(column)](column)


@dataclass(frozen=True)
class _Column:
    """The cells of a column that are there, by row number from 1."""

    name: str
    source: str
    cells: dict[int, object]
    has_gaps: bool

    def refusal(self, reason: str) -> LabelError:
        return LabelError(f"{self.source}, column {self.name!r}: {reason}")

    def multiclass(self, labels: Iterable[object], what: str) -> Inferred:
        names = _ordered(labels)
        if len(names) < 2:
            raise self.refusal(
                f"holds one class only, {names[0]!r}; a head needs two. Name another column, or add rows."
            )
        head = f"Multiclass({len(names)} labels)"
        return Inferred(Multiclass(labels=names), f"{self.name!r}: {len(names)} distinct {what} -> {head}")

    def multilabel(self, parts: Iterable[Sequence[object]], what: str) -> Inferred:
        rows = [list(dict.fromkeys(part)) for part in parts]
        given = [label for row in rows for label in row]
        names = _ordered(given)
        if not names or (len(names) == 1 and all(rows)):
            raise self.refusal(f"holds the same labels in every cell, {listed(names)}; there is nothing to tell apart.")
        self.check_repeats(given)
        head = f"MultiLabel({len(names)} label{'s' * (len(names) > 1)})"
        return Inferred(MultiLabel(labels=names), f"{self.name!r}: {what}, {len(names)} distinct -> {head}")

    def tokens(self, types: Iterable[object], what: str) -> Inferred:
        names = _ordered(types)
        if not names:
            raise self.refusal("holds the tag 'O' only; there is nothing to find. Name another column, or add rows.")
        head = f"Tokens({len(names)} entity type{'s' * (len(names) > 1)})"
        return Inferred(Tokens(labels=names), f"{self.name!r}: {what} -> {head}")

    def regression(self, what: str) -> Inferred:
        distinct = len(set(self.cells.values()))
        if distinct < 2:
            raise self.refusal(
                f"holds one value only, {next(iter(self.cells.values()))!r}; there is nothing to predict."
            )
        return Inferred(Regression(), f"{self.name!r}: {distinct} distinct {what} -> Regression")

    def check_repeats(self, labels: Sequence[object]) -> None:
        distinct = len(set(labels))
        if distinct > MOST_DISTINCT_STRINGS and distinct > len(labels) / 2:
            raise self.refusal(
                f"{distinct} of {len(labels)} values differ, so it looks like free text or an id, not like "
                "classes. Name another column, or make the head yourself: Multiclass(labels=[...])."
            )


def _kind(column: _Column) -> str:
    """Return the one type that all cells have.

    Raises:
        LabelError: they have several, or one that no label has.
    """
    rows: dict[str, int] = {}
    for row, cell in column.cells.items():
        rows.setdefault(_kind_of(cell), row)
    if "other" in rows:
        cell = column.cells[rows["other"]]
        raise column.refusal(
            f"row {rows['other']} holds {repr(cell)[:40]} ({type(cell).__name__}); "
            "a label is a string, a number, a bool or a list of them. Convert the column, or name another."
        )
    kinds = set(rows)
    if kinds == {"integers", "floats"}:
        return "floats"
    if kinds == {"lists", "strings"}:
        return "lists"
    if len(kinds) > 1:
        seen = " and ".join(f"{kind} (row {row})" for kind, row in rows.items())
        raise column.refusal(f"mixes {seen}. Convert its cells to one type.")
    return kinds.pop()


def _kind_of(cell: object) -> str:
    if isinstance(cell, bool):
        return "bools"
    if isinstance(cell, list | tuple | np.ndarray):
        return "lists"
    for type_, kind in ((str, "strings"), (int, "integers"), (float, "floats")):
        if isinstance(cell, type_):
            return kind
    return "other"


def _from_bools(column: _Column) -> Inferred:
    return column.multiclass(column.cells.values(), "bools")


def _from_integers(column: _Column) -> Inferred:
    values = list(column.cells.values())
    return column.multiclass(values, "integers") if _few(values) else column.regression("integers")


def _from_floats(column: _Column) -> Inferred:
    values = [float(value) for value in column.cells.values() if isinstance(value, int | float)]
    for row, value in zip(column.cells, values, strict=True):
        if not math.isfinite(value):
            raise column.refusal(f"row {row} holds {value!r}; a number must be finite. Correct it, or leave it empty.")
    # An integer column with gaps is a float column in pandas, and in the CSV files that pandas writes.
    if column.has_gaps and all(value.is_integer() for value in values) and _few(values):
        return column.multiclass([int(value) for value in values], "whole numbers (floats, since cells are missing)")
    return column.regression("floats")


def _from_lists(column: _Column) -> Inferred:
    entities = _entities(column)
    if entities is not None:
        return entities
    parts: list[list[object]] = []
    for row, cell in column.cells.items():
        labels = [label for label in split_labels(cell) if not is_missing(label)]
        for label in labels:
            if not isinstance(label, str | int):
                raise column.refusal(
                    f"row {row} holds a list with {repr(label)[:40]} ({type(label).__name__}); "
                    "its items must be strings or integers."
                )
        parts.append(labels)
    if len({type(label) for row in parts for label in row}) > 1:
        raise column.refusal("its lists mix labels of several types. Convert them to one type.")
    return column.multilabel(parts, "lists of labels")


def _entities(column: _Column) -> Inferred | None:
    """Return a token head for lists of spans or of BIO tags, ``None`` for other lists."""
    cells = list(column.cells.values())
    if any(is_spans(cell) for cell in cells) and all(is_spans(cell) or not _items(cell) for cell in cells):
        spans = [item for row, cell in column.cells.items() for item in parsed(cell, f"row {row}")]
        return column.tokens([getattr(span, "label", None) for span in spans], "lists of spans")
    tags = [tag for cell in cells for tag in _items(cell) if not is_missing(tag)]
    if tags and all(is_tag(tag) for tag in tags):
        return column.tokens(types_of(tags) or (), "lists of BIO tags")
    return None


def _items(cell: object) -> list[object]:
    """Return the items of a list, or of JSON of one."""
    if isinstance(cell, str) and not is_json_list(cell):
        return [cell]
    return split_labels(cell)


def _from_strings(column: _Column) -> Inferred:
    texts = [str(cell).strip() for cell in column.cells.values()]
    if any(is_spans(text) for text in texts):
        return _entities(column) or _from_plain_strings(column, texts)
    return _from_plain_strings(column, texts)


def _from_plain_strings(column: _Column, texts: list[str]) -> Inferred:
    if all(is_json_list(text) for text in texts):
        return _from_lists(column)
    if _bars_separate(texts):
        return column.multilabel([split_labels(text) for text in texts], "labels with bars between")
    if all(_FLOAT.fullmatch(text) for text in texts):
        return _from_numeric_strings(column, texts)
    column.check_repeats(texts)
    return column.multiclass(texts, "strings")


def _from_numeric_strings(column: _Column, texts: Sequence[str]) -> Inferred:
    integers = all(_INTEGER.fullmatch(text) for text in texts)
    gaps = column.has_gaps and all(float(text).is_integer() for text in texts)
    if (integers or gaps) and _few(texts):
        return column.multiclass(texts, "integers, as strings" if integers else "whole numbers, as strings")
    return column.regression("numbers, as strings")


_RULES = {
    "bools": _from_bools,
    "integers": _from_integers,
    "floats": _from_floats,
    "lists": _from_lists,
    "strings": _from_strings,
}


def _few(values: Sequence[object]) -> bool:
    distinct = len(set(values))
    return distinct <= MOST_INTEGER_CLASSES and distinct < len(values)


def _bars_separate(texts: Sequence[str]) -> bool:
    """Return whether bars separate labels, or belong to the text.

    Labels recombine: at least half of the parts between bars also occur in another cell.
    The parts of ``Nurse (m|w|d)``, or of one class name ``Law | EpochSampler`` in many rows, do not.
    """
    distinct = set(texts)
    barred = [split_labels(text) for text in distinct if "|" in text]
    parts = {str(part) for labels in barred for part in labels}
    if not parts or any(_open_bracket(part) for part in parts):
        return False
    cells_of: dict[object, int] = defaultdict(int)
    for text in distinct:
        for part in {str(label) for label in split_labels(text)} if "|" in text else {text}:
            cells_of[part] += 1
    return sum(cells_of[part] > 1 for part in parts) * 2 >= len(parts)


def _open_bracket(part: str) -> bool:
    return any(part.count(left) != part.count(right) for left, right in ("()", "[]", "{}"))


def _ordered(labels: Iterable[object]) -> list[object]:
    """Return distinct labels in order: numbers and numeric strings by value, other strings by code point."""
    distinct = list(dict.fromkeys(labels))
    if all(isinstance(label, str) and _FLOAT.fullmatch(label) for label in distinct):
        return sorted(distinct, key=lambda label: (float(str(label)), str(label)))
    return sorted(distinct)  # type: ignore[type-var]
