"""Evaluate the heads of a model on a table. Nothing is written, and the model does not change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.labelled import LabelledRows, Reading, read_labelled
from manyheads.data.split import group_of_each
from manyheads.data.tables.table import read_table
from manyheads.data.texts.texts import Texts
from manyheads.errors import HeadError, LabelError, counted, listed
from manyheads.evaluation.baselines import TrainingRows
from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.report import EvaluatedTable, Report, build_report
from manyheads.evaluation.report.made import made_record
from manyheads.features.cache import FeatureCache
from manyheads.heads import Head, Targets
from manyheads.inference import Predictions, Scorer, ScoringSettings
from manyheads.runtime.progress import spinner
from manyheads.runtime.words import Place
from manyheads.types import Tokenizer

# Predicts texts with heads, by name.
Predict = Callable[[Texts, Iterable[str]], Predictions]


def evaluate_table(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    reading: Reading,
    heads: Iterable[str] | None = None,
    by: Sequence[str] = (),
    train_data: object = None,
    cache: FeatureCache | None = None,
) -> Report:
    """Measure heads on the labelled rows of a table; the arguments are those of ``evaluate``."""
    chosen = _chosen_heads(core, heads)
    # The training table is read first: an error in it is found before anything is predicted.
    train = None if train_data is None else _training_rows(train_data, reading, chosen)
    table, predicted = predict_labelled(core, tokenizer, data, reading, heads, by, cache)
    seen = [] if train is None else _seen_note(table.texts, next(iter(train.values())).texts)
    report = build_report(replace(table, notes=[*table.notes, *seen]), predicted, train)
    return replace(report, made=made_record(core, chosen))


def predict_labelled(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    reading: Reading,
    heads: Iterable[str] | None = None,
    by: Sequence[str] = (),
    cache: FeatureCache | None = None,
    predict: Predict | None = None,
) -> tuple[EvaluatedTable, dict[str, EvaluatedRows]]:
    """Predict the labelled rows of a table; return them, and each head's predictions. The arguments are those of
    ``evaluate``; ``predict`` is what predicts, by default the model as it is.
    """
    chosen = _chosen_heads(core, heads)
    with spinner("Reading the table"):
        table = read_table(data)
        columns = {name: table.values(name) for name in by}
        labelled = read_labelled(table, reading.text, chosen, for_evaluation=True)
    numbers = np.flatnonzero(labelled.any_label)
    rows = labelled.take(numbers)
    texts = Texts(rows.texts, labelled.texts.empty[numbers], _given(labelled.texts, numbers))
    settings = ScoringSettings(reading.max_length, reading.long_text)
    predictions = (Scorer(core, tokenizer, settings, cache) if predict is None else predict)(texts, chosen)
    predicted = {name: _evaluated(name, head, rows, predictions) for name, head in chosen.items()}
    evaluated = EvaluatedTable(
        source=table.name,
        procedure=f"{table.name}, predicted by the model as it is.",
        texts=rows.texts,
        flags={"truncated": predictions.truncated, "split": predictions.split},
        columns={name: [cells[number] for number in numbers.tolist()] for name, cells in columns.items()},
        notes=[*labelled.remarks, *_notes(len(labelled.texts), rows, predictions, predicted, reading)],
    )
    return evaluated, predicted


def _chosen_heads(core: HeadedCore, names: Iterable[str] | None) -> dict[str, Head]:
    """Return the heads to evaluate.

    Raises:
        HeadError: there is none, or one of them is not trained.
    """
    chosen = core.heads.chosen(names)
    if not chosen:
        reason = "heads=[] is empty" if core.heads else "this model has none"
        raise HeadError(f"No head to evaluate: {reason}; add one with add_head, and train it")
    untrained = [name for name, head in core.heads.with_dependencies(chosen).items() if not head.is_usable]
    if untrained:
        raise HeadError(f"No training of {listed(untrained)}, so there is nothing to evaluate; train first")
    return chosen


def _training_rows(data: object, reading: Reading, heads: Mapping[str, Head]) -> dict[str, TrainingRows]:
    """Return the labelled training rows of each head."""
    table = read_labelled(read_table(data), reading.text, heads, for_evaluation=True)
    return {name: TrainingRows(table.texts.texts, targets, table.words) for name, targets in table.targets.items()}


def _seen_note(evaluated: Sequence[Any], train: Sequence[Any]) -> list[str]:
    """Return a sentence on evaluated texts that the training table contains too."""
    groups = group_of_each([*train, *evaluated])
    seen = int(np.isin(groups[len(train) :], groups[: len(train)]).sum())
    return [f"In the training table too, so that measures may be too good: {counted(seen, 'row')}."] if seen else []


def _given(texts: Texts, numbers: np.ndarray) -> dict[int, list[Place]]:
    """Return the words of the texts that were given as lists of words."""
    return {row: texts.given[number] for row, number in enumerate(numbers.tolist()) if number in texts.given}


def _evaluated(name: str, head: Head, rows: LabelledRows, predictions: Predictions) -> EvaluatedRows:
    """Return one head's predictions of the rows; of words that were predicted, if it labels words.

    Raises:
        LabelError: all of a head's labelled words were cut off.
    """
    targets, unknown, words = rows.targets[name], rows.unknown.get(name), None
    if head.spec.by_word:
        kept = _predicted_words(rows, predictions)
        assert rows.words is not None
        targets, unknown = targets.of_words(kept), None if unknown is None else unknown.of_words(kept)
        words = [[own[word] for word in found.tolist()] for own, found in zip(rows.words, kept, strict=True)]
    if not targets.labelled.any() and (unknown is None or not unknown.targets.labelled.any()):
        raise LabelError(
            f"{rows.source}: head {name!r}: no labelled word has a token: all were cut off; raise max_length, or "
            "shorten the texts"
        )
    logits = predictions.logits[name]
    return EvaluatedRows(head.spec, rows.numbers, rows.texts, targets, logits, head.decision, unknown, words)


def _predicted_words(rows: LabelledRows, predictions: Predictions) -> list[np.ndarray]:
    """Return which words of each text were predicted: those that were truncated or have no token were not."""
    assert rows.words is not None
    assert predictions.words is not None
    found = []
    for own, predicted in zip(rows.words, predictions.words, strict=True):
        starts = np.array([start for start, _ in own], dtype=np.int64)
        found.append(np.searchsorted(starts, predicted[:, 0]))
    return found


def _notes(
    count: int,
    rows: LabelledRows,
    predictions: Predictions,
    predicted: Mapping[str, EvaluatedRows],
    reading: Reading,
) -> list[str]:
    """Return sentences on rows and words that were not measured, and on texts that were cut or split or are empty."""
    found = []
    if len(rows) < count:
        found.append(f"{rows.source}: left out, without a label of any head: {counted(count - len(rows), 'row')}.")
    for flags, what in (
        (predictions.truncated, "measured like any others, but longer than the limit and cut"),
        (predictions.split, f"longer than the limit and read in windows, by long_text={reading.long_text!r}"),
        (predictions.empty, "measured like any others, but empty"),
    ):
        if flags.any():
            found.append(f"{rows.source}: {what}: {counted(int(flags.sum()), 'text')}.")
    for name, one in predicted.items():
        lost = _labelled_items(rows.targets[name]) - _labelled_items(one.targets)
        if lost:
            found.append(f"Head {name!r}: left out, without a token or cut off: {counted(lost, 'labelled word')}.")
    return found


def _labelled_items(targets: Targets) -> int:
    return len(targets.items())
