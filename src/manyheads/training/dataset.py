"""From a table to what methods train on: token ids, targets, and which rows train and which evaluate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.labelled import labelled_rows
from manyheads.data.split import split_by_text
from manyheads.data.tables.table import Table
from manyheads.data.texts.texts import Texts, read_texts
from manyheads.data.texts.tokenize import Tokenized
from manyheads.data.texts.words import Place
from manyheads.errors import DataError, LabelError, MissingColumnError
from manyheads.heads import Head, LabelledSpec
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.word_labels import Tagged
from manyheads.heads.kinds.softmax import MISSING
from manyheads.inference.predictor import words_for


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
class Evaluation:
    """Which rows are evaluated on.

    Attributes:
        data: A table of their own, or ``None``.
        fraction: Share of the training table's rows held out where they have none.
        seed: Of the draw, and of every other random choice of the training.
    """

    data: object = None
    fraction: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with targets, before any split.

    Attributes:
        source: What messages call it.
        texts: The texts.
        targets: Head name -> encoded targets, one per text; of a token head, one per word of it.
        words: Where each text's words stand, where a head labels them.
    """

    source: str
    texts: Texts
    targets: Mapping[str, np.ndarray]
    words: Sequence[Sequence[Place]] | None = None


@dataclass(frozen=True)
class TrainingData:
    """What a method trains on. Rows are those of ``tokenized``.

    Attributes:
        tokenized: Training and evaluation rows.
        texts: Their texts: equal ones are never on both sides of a split.
        targets: Head name -> encoded targets; of a token head (rows, most words), for the words that have a token.
        train: Row numbers to train on.
        evaluate: Row numbers to evaluate on; may be empty.
        seed: For every random choice.
        digest: Of the backbone's tensors, by which cached features are found.
        others: The method's further texts, without labels.
    """

    tokenized: Tokenized
    texts: Sequence[Any]
    targets: Mapping[str, np.ndarray]
    train: np.ndarray
    evaluate: np.ndarray
    seed: int
    digest: str
    others: Tokenized | None = None

    def labelled(self, name: str, head: Head) -> np.ndarray:
        """Return the training rows that carry a label of a head."""
        rows: np.ndarray = self.train[labelled_rows(head.spec, self.targets[name][self.train])]
        return rows


def read_labelled(table: Table, text: str | Sequence[str], heads: Mapping[str, Head]) -> LabelledTexts:
    """Read texts and every head's labels from a table.

    Raises:
        MissingColumnError: no text column, or none for a head; names the columns that exist.
        LabelError: a label that its head does not know, or none at all.
    """
    texts = read_texts(table, text)
    words = words_for(heads, texts)
    targets: dict[str, np.ndarray] = {}
    for name, head in heads.items():
        cells = _cells(table, name, head)
        if all(is_missing(cell) for cell in cells):
            raise LabelError(
                f"{table.name}: head {name!r}: all {table.rows} labels in column {head.spec.column or name!r} are "
                "missing; check the column, or train other heads with heads=[...]"
            )
        if head.spec.by_word:
            assert words is not None
            cells = [Tagged(*row) for row in zip(cells, words, map(len, texts.texts), strict=True)]
        targets[name] = head.spec.encode(cells, name, table.name)
    return LabelledTexts(table.name, texts, targets, words)


def usable_rows(labelled: LabelledTexts, heads: Mapping[str, Head]) -> np.ndarray:
    """Return the rows that hold a text and a label of any head."""
    any_label = np.zeros(len(labelled.texts), dtype=bool)
    for name, head in heads.items():
        any_label |= labelled_rows(head.spec, labelled.targets[name])
    return np.flatnonzero(any_label & ~labelled.texts.empty)


def split_rows(labelled: LabelledTexts, rows: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut rows into training and evaluation rows, no text on both sides; a fraction of 0 evaluates nothing.

    Raises:
        DataError: a fraction outside [0, 1), or too few different texts.
    """
    if fraction == 0:
        return rows, rows[:0]
    if not len(rows):
        raise DataError(f"{labelled.source}: no row holds both a text and a label; check the columns")
    train, evaluate = split_by_text([labelled.texts.texts[row] for row in rows], fraction, seed)
    return rows[train], rows[evaluate]


def check_learnable(labelled: LabelledTexts, rows: np.ndarray, heads: Mapping[str, Head]) -> None:
    """Refuse training rows from which a head could learn nothing.

    Raises:
        LabelError: no label, labels of one text only, or one class only.
    """
    source = labelled.source
    for name, head in heads.items():
        mine = rows[labelled_rows(head.spec, labelled.targets[name][rows])]
        present = labelled.targets[name][mine]
        if len({labelled.texts.texts[row] for row in mine}) < 2:
            raise LabelError(
                f"{source}: head {name!r}: {len(mine)} training rows have a text and a label, and fewer than two "
                "different texts; add some, or leave the head out with heads=[...]"
            )
        if head.spec.by_word:
            present = present[present != MISSING]
        if isinstance(head.spec, LabelledSpec) and len(np.unique(present, axis=0)) == 1:
            what = "words of the training rows" if head.spec.by_word else "training rows"
            raise LabelError(
                f"{source}: head {name!r}: all {len(present)} {what} are labelled alike; a head needs at least "
                "two classes to learn; add rows, or leave the head out with heads=[...]"
            )


def _cells(table: Table, name: str, head: Head) -> list[object]:
    column = head.spec.column or name
    try:
        return table.values(column)
    except MissingColumnError as error:
        raise MissingColumnError(f"Head {name!r}: {error}; name another with column=") from None
