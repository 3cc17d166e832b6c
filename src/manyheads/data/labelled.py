"""Read texts and labels from a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from manyheads.data.tables.table import Table
from manyheads.data.texts.texts import Texts, read_texts
from manyheads.data.unknown_labels import UnknownLabels, find_unknown
from manyheads.data.weights import read_weights
from manyheads.errors import LabelError, MissingColumnError
from manyheads.heads import Head, Targets
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.spans import SplitText
from manyheads.runtime.words import Place


@dataclass(frozen=True)
class Reading:
    """How texts are read from a table.

    Attributes:
        text: The text column, or two for text pairs.
        max_length: Maximum tokens per text; ``None`` for the backbone's limit.
        long_text: ``"truncate"`` or ``"error"``; for predictions also ``"mean"`` or ``"max"``.
        weight: The column with the weights of training rows, or ``None``.
    """

    text: str | Sequence[str]
    max_length: int | None = None
    long_text: str = "truncate"
    weight: str | None = None


@dataclass(frozen=True)
class LabelledRows:
    """Some rows of a table, in any order.

    Attributes:
        source: The table's name in messages.
        numbers: (rows,) number of each row in the table, from 0.
        texts: One text, or one pair of texts, per row.
        targets: Head name -> encoded targets.
        words: Character spans of each text's words; ``None`` if no head labels words.
        unknown: Head name -> labels that the head does not have.
        sample_weight: Weight of each row (rows,), or ``None`` if all count alike.
    """

    source: str
    numbers: np.ndarray
    texts: list[Any]
    targets: Mapping[str, Targets]
    words: Sequence[Sequence[Place]] | None
    unknown: Mapping[str, UnknownLabels]
    sample_weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def locations(self) -> list[str]:
        """The table and the number from 1 of each row, for messages."""
        return [f"{self.source}, row {number + 1}" for number in self.numbers]


@dataclass(frozen=True)
class LabelledTable:
    """All texts and targets of a table.

    Attributes:
        source: The table's name in messages.
        texts: The texts.
        targets: Head name -> encoded targets.
        words: Character spans of each text's words; ``None`` if no head labels words.
        unknown: Head name -> labels that the head does not have; only for a table of evaluation rows.
        remarks: Sentences on cells that mean no label.
        sample_weight: Weight of each row (rows,), or ``None`` if all count alike.
    """

    source: str
    texts: Texts
    targets: Mapping[str, Targets]
    words: Sequence[Sequence[Place]] | None = None
    unknown: Mapping[str, UnknownLabels] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    sample_weight: np.ndarray | None = None

    @property
    def any_label(self) -> np.ndarray:
        """(rows,) booleans: the rows with a label of any head."""
        any_label = np.zeros(len(self.texts), dtype=bool)
        for targets in self.targets.values():
            any_label |= targets.labelled
        for unknown in self.unknown.values():
            any_label |= unknown.targets.labelled
        return any_label

    @property
    def labelled(self) -> np.ndarray:
        """(rows,) booleans: the rows with a text and a label of any head."""
        usable: np.ndarray = self.any_label & ~self.texts.empty
        return usable

    def usable_rows(self) -> np.ndarray:
        """Return the numbers of the rows with a text, a label of any head, and no weight of 0."""
        return np.flatnonzero(self.labelled if self.sample_weight is None else self.labelled & (self.sample_weight > 0))

    def weighted_by(self, table: Table, column: str) -> LabelledTable:
        """Return the table with the weights of a column, which only labelled rows need.

        Raises:
            MissingColumnError: no column of that name.
            DataError: a weight is missing, negative or no finite number, or all are 0.
        """
        return replace(self, sample_weight=read_weights(table, column, self.labelled))

    def take(self, numbers: np.ndarray) -> LabelledRows:
        """Return some rows, in the order given."""
        return LabelledRows(
            self.source,
            numbers,
            [self.texts.texts[number] for number in numbers],
            {name: targets.take(numbers) for name, targets in self.targets.items()},
            None if self.words is None else [self.words[number] for number in numbers],
            {name: unknown.take(numbers) for name, unknown in self.unknown.items()},
            None if self.sample_weight is None else self.sample_weight[numbers],
        )

    def notes(self) -> list[str]:
        """Return a sentence per reason why rows are unusable, and on cells that mean no label."""
        empty = int(self.texts.empty.sum())
        labelled = int(self.labelled.sum())
        reasons = {
            "no text": empty,
            "no label of any head": len(self.texts) - empty - labelled,
            "the weight 0": labelled - len(self.usable_rows()),
        }
        return [*self.remarks] + [
            f"{self.source}: {count} rows have {reason} and were left out."
            for reason, count in reasons.items()
            if count
        ]


def read_labelled(
    table: Table, text: str | Sequence[str], heads: Mapping[str, Head], for_evaluation: bool = False
) -> LabelledTable:
    """Read texts and every head's labels from a table.

    Args:
        table: The table.
        text: The text column, or two for text pairs.
        heads: The heads; each reads the column of its spec, or the one with its name.
        for_evaluation: Whether labels that a head does not have are counted as wrong, rather than an error.

    Raises:
        MissingColumnError: no text column, or none for a head; lists the columns of the table.
        LabelError: a label that its head does not have, or no label at all.
    """
    texts = read_texts(table, text)
    words = words_for(heads, texts)
    split = split_texts(words, texts)
    targets: dict[str, Targets] = {}
    unknown: dict[str, UnknownLabels] = {}
    remarks: list[str] = []
    for name, head in heads.items():
        given = _label_cells(table, name, head)
        cells = head.spec.label_cells(given)
        remarks += _placeholder_remark(name, given, cells)
        if all(is_missing(cell) for cell in cells):
            raise LabelError(
                f"{table.name}: head {name!r}: all {table.rows} labels in column {head.spec.column or name!r} are "
                "missing; check the column, or leave the head out with heads=[...]"
            )
        found = find_unknown(head.spec, cells, name, table.name, split) if for_evaluation else None
        if found is None:
            targets[name] = head.spec.encode(cells, name, table.name, split)
        else:
            unknown[name], targets[name] = found, head.spec.only_own_labels(found.targets)
    return LabelledTable(table.name, texts, targets, words, unknown, remarks)


def _placeholder_remark(name: str, given: Sequence[object], cells: Sequence[object]) -> list[str]:
    """Return a sentence on the cells that are not empty and mean no label."""
    found = [old for old, new in zip(given, cells, strict=True) if new is None and not is_missing(old)]
    if not found:
        return []
    return [f"Head {name!r}: {len(found)} cells such as {found[0]!r} mean no label; missing=[] makes them labels."]


def words_for(heads: Mapping[str, Head], texts: Texts) -> list[list[Place]] | None:
    """Return the character spans of each text's words; ``None`` if none of the heads labels words.

    Raises:
        TextError: text pairs, whose words no head labels.
    """
    rule = next((head.spec.word_rule for head in heads.values() if head.spec.word_rule is not None), None)
    return None if rule is None else texts.words(rule)


def split_texts(words: Sequence[Sequence[Place]] | None, texts: Texts) -> list[SplitText] | None:
    """Return each text with its words, as specs encode labels of words; ``None`` without words."""
    if words is None:
        return None
    return [SplitText(places, str(own)) for places, own in zip(words, texts.texts, strict=True)]


def _label_cells(table: Table, name: str, head: Head) -> list[object]:
    column = head.spec.column or name
    try:
        return table.values(column)
    except MissingColumnError as error:
        raise MissingColumnError(f"Head {name!r}: {error}; name another with column=") from None
