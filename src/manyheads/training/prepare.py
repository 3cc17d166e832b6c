"""Prepare the data of a training run: read the tables, pick rows, check the labels, tokenize the texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.label_names import label_name_rows
from manyheads.data.labelled import LabelledRows, LabelledTable, Reading, read_labelled
from manyheads.data.split import split_by_text
from manyheads.data.tables.table import Table, read_table
from manyheads.data.texts.texts import read_texts, read_texts_from_list
from manyheads.data.texts.tokenize import Tokenized
from manyheads.data.unknown_labels import UnknownLabels
from manyheads.data.weights import check_weight_column
from manyheads.errors import DataError, LabelError, counted
from manyheads.features.tokenize import tokenize_for
from manyheads.heads import Head, Targets
from manyheads.runtime.progress import spinner
from manyheads.training.dataset import Evaluation, TrainingData, row_classes
from manyheads.types import Tokenizer


@dataclass(frozen=True)
class Prepared:
    """The data of a training run, and the rows it comes from.

    Attributes:
        data: The data for the method.
        train_rows: Number in its table of each training row.
        evaluation_rows: Number in its table of each evaluation row.
        unknown: Head name -> labels of the evaluation rows that the head does not have.
        notes: Sentences for the user.
    """

    data: TrainingData
    train_rows: np.ndarray
    evaluation_rows: np.ndarray
    unknown: Mapping[str, UnknownLabels]
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
    """Read, check and tokenize the training and evaluation rows.

    Args:
        core: The model.
        tokenizer: The backbone's tokenizer.
        data: The training table, see ``train``.
        heads: The heads to train.
        reading: How texts are read from the tables.
        evaluation: The choice of the evaluation rows.
        other_texts: Further texts without labels, as a table or a list of strings.
    """
    with spinner("Reading the table"):
        table = read_table(data)
    others = None if other_texts is None else _tokenize_others(core, tokenizer, other_texts, reading)
    tables = [_read_training_table(table, reading, heads)]
    if evaluation.data is not None:
        tables.append(read_labelled(_renamed(read_table(evaluation.data), table), reading.text, heads, True))
    train, evaluate = _pick_rows(tables, evaluation)
    check_learnable(train, heads)

    names, name_rows = label_name_rows(train, heads)
    rows = len(train) + len(evaluate)
    tokenized = _tokenize(core, tokenizer, [train, evaluate], heads, reading)
    tokenized = tokenized.joined(_tokenize(core, tokenizer, [names], heads, replace(reading, long_text="truncate")))
    parts = [train, evaluate, names]
    labelled = {name: head.spec.joined([part.targets[name] for part in parts]) for name, head in heads.items()}
    tokenized_words = [words.numbers for words in tokenized.words or ()]
    prepared = TrainingData(
        tokenized=tokenized,
        texts=[text for part in parts for text in part.texts],
        targets={name: labelled[name].of_words(tokenized_words) for name in heads},
        train=np.arange(len(train)),
        evaluate=np.arange(len(train), rows),
        seed=evaluation.seed,
        digest=core.backbone.digest(),
        others=others,
        sample_weight=_weights(parts),
        label_names={name: rows + own for name, own in name_rows.items()},
    )
    check_tokenized(train.source, prepared, heads)
    notes = [note for labelled_table in tables for note in labelled_table.notes()]
    notes += [*_notes(prepared, labelled, heads), *_unknown_notes(evaluate.unknown)]
    unknown = {name: one.of_words(tokenized_words[len(train) : rows]) for name, one in evaluate.unknown.items()}
    return Prepared(prepared, train.numbers, evaluate.numbers, unknown, notes)


def _read_training_table(table: Table, reading: Reading, heads: Mapping[str, Head]) -> LabelledTable:
    """Read texts, labels and, if there are any, weights."""
    if reading.weight is None:
        return read_labelled(table, reading.text, heads)
    check_weight_column(reading.weight, reading.text, heads, table.name)
    return read_labelled(table, reading.text, heads).weighted_by(table, reading.weight)


def _weights(parts: Sequence[LabelledRows]) -> np.ndarray | None:
    """Return the weights of the training rows, ones for the evaluation rows after them, and the training rows' mean for
    names of labels; ``None`` if all count alike.
    """
    train, evaluate, names = parts
    if train.sample_weight is None:
        return None
    return np.concatenate(
        [train.sample_weight, np.ones(len(evaluate)), np.full(len(names), train.sample_weight.mean())]
    )


def _unknown_notes(unknown: Mapping[str, UnknownLabels]) -> list[str]:
    """Return sentences on labels that only the evaluation rows have."""
    return [
        f"Head {name!r}: the evaluation rows have {counted(len(one.labels), 'label')} that the head does not have: "
        f"{one.shown}; they count as wrong, and not in the log loss."
        for name, one in unknown.items()
    ]


def _renamed(evaluation: Table, training: Table) -> Table:
    """Return the evaluation table with a name that differs from the training table's: lists share one name."""
    same = evaluation.name == training.name
    return replace(evaluation, name=f"eval_data, {evaluation.name}") if same else evaluation


def _pick_rows(tables: Sequence[LabelledTable], evaluation: Evaluation) -> tuple[LabelledRows, LabelledRows]:
    """Return the training and the evaluation rows: of two tables, or split from one."""
    if len(tables) == 1:
        train, evaluate = split_rows(tables[0], evaluation.fraction, evaluation.seed)
        return tables[0].take(train), tables[0].take(evaluate)
    train, evaluate = (table.usable_rows() for table in tables)
    return tables[0].take(train), tables[1].take(evaluate)


def split_rows(table: LabelledTable, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the usable rows into training and evaluation rows without a common text; a fraction of 0 evaluates none.

    Raises:
        DataError: a fraction outside [0, 1), or too few different texts.
    """
    rows = table.usable_rows()
    if fraction == 0:
        return rows, rows[:0]
    if not len(rows):
        raise DataError(f"{table.source}: no row has both a text and a label; check the columns")
    classes = row_classes(table.targets, rows)
    train, evaluate = split_by_text([table.texts.texts[row] for row in rows], fraction, seed, classes)
    return rows[train], rows[evaluate]


def check_learnable(train: LabelledRows, heads: Mapping[str, Head]) -> None:
    """Check that every head can learn from the training rows.

    Raises:
        LabelError: a head has no label, labels of one text only, or one class only.
    """
    for name, head in heads.items():
        targets = train.targets[name]
        items = targets.items().targets
        labelled = np.flatnonzero(targets.labelled)
        if len({train.texts[row] for row in labelled}) < 2:
            raise LabelError(
                f"{train.source}: head {name!r}: {len(labelled)} training rows have a text and a label, and fewer than "
                "two different texts; add some, or leave the head out with heads=[...]"
            )
        if head.spec.has_labels and len(np.unique(items, axis=0)) == 1:
            raise LabelError(
                f"{train.source}: head {name!r}: all {len(items)} {targets.unit} have the same label; at least two "
                "labels are needed; add rows, or leave the head out with heads=[...]"
            )


def check_tokenized(source: str, data: TrainingData, heads: Mapping[str, Head]) -> None:
    """Check that a labelled training word of every head has a token.

    Raises:
        LabelError: all of a head's labelled words were cut off.
    """
    for name in heads:
        if not len(data.labelled(name)):
            raise LabelError(
                f"{source}: head {name!r}: no labelled word of the training rows has a token: all were cut off; raise "
                "max_length, or shorten the texts"
            )


def _tokenize(
    core: HeadedCore,
    tokenizer: Tokenizer,
    parts: Sequence[LabelledRows],
    heads: Mapping[str, Head],
    reading: Reading,
) -> Tokenized:
    """Tokenize the rows of some parts, one part after the other."""
    texts = [text for part in parts for text in part.texts]
    locations = [place for part in parts for place in part.locations]
    words = None if parts[0].words is None else [own for part in parts for own in part.words or ()]
    taps = [tap for head in core.heads.with_dependencies(heads).values() for tap in head.spec.taps]
    return tokenize_for(core, tokenizer, texts, reading.max_length, reading.long_text, locations, taps, words)


def _tokenize_others(core: HeadedCore, tokenizer: Tokenizer, other_texts: object, reading: Reading) -> Tokenized:
    """Tokenize texts without labels: a list of strings, or the text columns of a table.

    Raises:
        DataError: all of them are empty.
    """
    is_list = isinstance(other_texts, Sequence) and not isinstance(other_texts, str)
    if is_list and all(isinstance(text, str) for text in other_texts):  # type: ignore[attr-defined]
        texts, source = read_texts_from_list(other_texts), "The list of texts"  # type: ignore[arg-type]
    else:
        table = read_table(other_texts)
        texts, source = read_texts(table, reading.text), table.name
    usable = [text for text, empty in zip(texts.texts, texts.empty, strict=True) if not empty]
    if not usable:
        raise DataError(f"{source}: all texts are empty; add some, or leave it out")
    return tokenize_for(core, tokenizer, usable, reading.max_length, reading.long_text)


def _notes(data: TrainingData, labelled: Mapping[str, Targets], heads: Mapping[str, Head]) -> list[str]:
    """Return sentences on truncated texts, on labels without a training row, and on labelled words without a token."""
    notes = []
    truncated = int(data.tokenized.truncated[np.concatenate([data.train, data.evaluate])].sum())
    if truncated:
        notes.append(f"Longer than the limit and cut: {counted(truncated, 'text')}.")
    for name, head in heads.items():
        unseen = head.spec.unseen_labels(data.targets[name].take(data.train).items().targets)
        if unseen:
            notes.append(
                f"Head {name!r}: {counted(len(unseen), 'label')} without a training row, such as {unseen[0]!r}."
            )
    for name in heads:
        lost = len(labelled[name].items()) - len(data.targets[name].items())
        if lost:
            notes.append(f"Head {name!r}: {lost} labelled words have no token or were cut off, and were left out.")
    return notes
