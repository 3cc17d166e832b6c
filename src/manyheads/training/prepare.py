"""Prepare the training data: read tables, split rows, check labels, tokenize texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.labelled import LabelledTexts, Reading, read_labelled, usable_rows
from manyheads.data.split import split_by_text
from manyheads.data.tables.table import Table, read_table
from manyheads.data.texts.texts import read_texts, read_texts_from_list
from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import DataError, LabelError
from manyheads.features.tokenize import tokenize_for
from manyheads.heads import Head, Targets
from manyheads.training.dataset import Evaluation, TrainingData
from manyheads.types import Tokenizer


@dataclass(frozen=True)
class Prepared:
    """Training data and its origin.

    Attributes:
        data: For the method.
        trained: Number in its table of each training row.
        evaluated: Number in its table of each evaluation row.
        notes: Sentences for the user.
    """

    data: TrainingData
    trained: np.ndarray
    evaluated: np.ndarray
    notes: list[str]


def prepare(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    heads: Mapping[str, Head],
    reading: Reading,
    evaluation: Evaluation,
    other_texts: object = None,
) -> Prepared:
    """Read and prepare all data of a training; see ``manyheads.train`` for the arguments."""
    table = read_table(data)
    others = None if other_texts is None else _others(core, tokenizer, other_texts, reading)
    parts = [read_labelled(table, reading.text, heads)]
    if evaluation.data is None:
        usable = usable_rows(parts[0], heads)
        train, evaluate = split_rows(parts[0], usable, evaluation.fraction, evaluation.seed)
        picked = [np.concatenate([train, evaluate])]
    else:
        parts.append(read_labelled(_told_apart(read_table(evaluation.data), table), reading.text, heads))
        picked = [usable_rows(part, heads) for part in parts]
        train, evaluate = picked
    check_learnable(parts[0], train, heads)
    texts = [part.texts.texts[row] for part, rows in zip(parts, picked, strict=True) for row in rows]
    places = [f"{part.source}, row {row + 1}" for part, rows in zip(parts, picked, strict=True) for row in rows]
    words = None
    if parts[0].words is not None:
        words = [part.words[row] for part, rows in zip(parts, picked, strict=True) for row in rows if part.words]
    taps = [tap for head in core.heads.with_dependencies(heads).values() for tap in head.spec.taps]
    tokenized = tokenize_for(core, tokenizer, texts, reading.max_length, reading.long_text, places, taps, words)
    whole = {
        name: _joined([part.targets[name].take(rows) for part, rows in zip(parts, picked, strict=True)])
        for name in heads
    }
    words_left = [words.numbers for words in tokenized.words or ()]
    targets = {name: whole[name].of_words(words_left) for name in heads}
    numbers = np.arange(len(texts))
    kept, held_out = numbers[: len(train)], numbers[len(train) :]
    digest = core.backbone.digest()
    ready = TrainingData(tokenized, texts, targets, kept, held_out, evaluation.seed, digest, others)
    check_words_left(parts[0].source, ready, heads)
    lost = [note for name in heads for note in _lost(name, whole[name], targets[name])]
    return Prepared(ready, train, evaluate, [*_notes(parts, picked, ready, heads), *lost])


def _joined(parts: Sequence[Targets]) -> Targets:
    return parts[0].joined(parts[1:])


def _lost(name: str, whole: Targets, read: Targets) -> list[str]:
    """Return a note on labelled words of a head that have no token."""
    lost = len(whole.items()) - len(read.items())
    return [f"Head {name!r}: {lost} labelled words have no token of their own, or were cut, and were left out."] * (
        lost > 0
    )


def _others(core: HeadedCore, tokenizer: Tokenizer, other_texts: object, reading: Reading) -> Tokenized:
    """Tokenize texts without labels: a list of strings, or the text columns of a table.

    Raises:
        DataError: none of them holds any text.
    """
    listed = isinstance(other_texts, Sequence) and not isinstance(other_texts, str)
    if listed and all(isinstance(text, str) for text in other_texts):  # type: ignore[attr-defined]
        texts, source = read_texts_from_list(other_texts), "The list of texts"  # type: ignore[arg-type]
    else:
        table = read_table(other_texts)
        texts, source = read_texts(table, reading.text), table.name
    usable = [text for text, empty in zip(texts.texts, texts.empty, strict=True) if not empty]
    if not usable:
        raise DataError(f"{source}: contains no text; add some or leave it out")
    return tokenize_for(core, tokenizer, usable, reading.max_length, reading.long_text)


def _told_apart(evaluation: Table, training: Table) -> Table:
    """Return the evaluation table with a distinct name for messages: two lists would both be "the list of rows"."""
    same = evaluation.name == training.name
    return dataclasses.replace(evaluation, name=f"eval_data, {evaluation.name}") if same else evaluation


def _notes(
    parts: Sequence[LabelledTexts], picked: Sequence[np.ndarray], data: TrainingData, heads: Mapping[str, Head]
) -> list[str]:
    notes = []
    for part, rows in zip(parts, picked, strict=True):
        empty = int(part.texts.empty.sum())
        if empty:
            notes.append(f"{part.source}: {empty} rows hold no text and were left out.")
        unlabelled = len(part.texts) - empty - len(rows)
        if unlabelled:
            notes.append(f"{part.source}: {unlabelled} rows hold no label of any head and were left out.")
    cut = int(data.tokenized.truncated.sum())
    if cut:
        notes.append(f"{cut} texts were longer than the limit and were cut.")
    for name, head in heads.items():
        unseen = head.spec.unseen_labels(data.targets[name].take(data.train).items().targets)
        if unseen:
            notes.append(f"Head {name!r}: {len(unseen)} labels have no training row, such as {unseen[0]!r}.")
    return notes


def check_words_left(source: str, data: TrainingData, heads: Mapping[str, Head]) -> None:
    """Check that every token head has a labelled training word with a token.

    Raises:
        LabelError: names the head.
    """
    for name in heads:
        if not len(data.labelled(name)):
            raise LabelError(
                f"{source}: head {name!r}: no labelled word of the training rows has a token: all were cut away; raise "
                "max_length, or shorten the texts"
            )


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
    """Check that every head can learn from its training rows.

    Raises:
        LabelError: no label, labels of one text only, or one class only.
    """
    source = labelled.source
    for name, head in heads.items():
        targets = labelled.targets[name]
        mine = rows[targets.labelled[rows]]
        present = targets.take(mine).items().targets
        if len({labelled.texts.texts[row] for row in mine}) < 2:
            raise LabelError(
                f"{source}: head {name!r}: {len(mine)} training rows have a text and a label, and fewer than two "
                "different texts; add some, or leave the head out with heads=[...]"
            )
        if head.spec.has_labels and len(np.unique(present, axis=0)) == 1:
            raise LabelError(
                f"{source}: head {name!r}: all {len(present)} {targets.unit} have the same label; at least two are "
                "needed; add rows or leave the head out with heads=[...]"
            )
