"""Which rows of encoded targets carry a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.data.tables.table import Table
from manyheads.data.texts.texts import Texts, read_texts
from manyheads.data.texts.words import Place
from manyheads.errors import LabelError, MissingColumnError
from manyheads.heads import Head, Targets
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.word_labels import SplitText


@dataclass(frozen=True)
class Reading:
    """How texts are read from a table.

    Attributes:
        text: The text column, or two for text pairs.
        max_length: Most tokens of a text; ``None`` for the backbone's limit.
        long_text: ``"truncate"`` or ``"error"``.
    """

    text: str | Sequence[str]
    max_length: int | None = None
    long_text: str = "truncate"


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with targets, before any split.

    Attributes:
        source: The table's name, for messages.
        texts: The texts.
        targets: Head name -> encoded targets.
        words: The words of each text, if a head labels words.
    """

    source: str
    texts: Texts
    targets: Mapping[str, Targets]
    words: Sequence[Sequence[Place]] | None = None


def read_labelled(table: Table, text: str | Sequence[str], heads: Mapping[str, Head]) -> LabelledTexts:
    """Read texts and every head's labels from a table.

    Raises:
        MissingColumnError: no text column, or none for a head; names the columns that exist.
        LabelError: an unknown label, or no label at all.
    """
    texts = read_texts(table, text)
    words = words_for(heads, texts)
    split = None if words is None else [SplitText(*pair) for pair in zip(words, map(len, texts.texts), strict=True)]
    targets: dict[str, Targets] = {}
    for name, head in heads.items():
        cells = _cells(table, name, head)
        if all(is_missing(cell) for cell in cells):
            raise LabelError(
                f"{table.name}: head {name!r}: all {table.rows} labels in column {head.spec.column or name!r} are "
                "missing; check the column, or train other heads with heads=[...]"
            )
        targets[name] = head.spec.encode(cells, name, table.name, split)
    return LabelledTexts(table.name, texts, targets, words)


def usable_rows(labelled: LabelledTexts, heads: Mapping[str, Head]) -> np.ndarray:
    """Return the rows that hold a text and a label of any head."""
    any_label = np.zeros(len(labelled.texts), dtype=bool)
    for name in heads:
        any_label |= labelled.targets[name].labelled
    return np.flatnonzero(any_label & ~labelled.texts.empty)


def _cells(table: Table, name: str, head: Head) -> list[object]:
    column = head.spec.column or name
    try:
        return table.values(column)
    except MissingColumnError as error:
        raise MissingColumnError(f"Head {name!r}: {error}; name another with column=") from None


def words_for(heads: Mapping[str, Head], texts: Texts) -> list[list[Place]] | None:
    """Return the words of each text, if any of the heads labels words.

    Raises:
        TextError: pairs of texts, whose words no head labels.
    """
    rule = next((head.spec.word_rule for head in heads.values() if head.spec.word_rule is not None), None)
    return None if rule is None else texts.words(rule)
