"""Score the rows of a part; a row that cannot be answered gets an error, and the others their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from manyheads.data.tables.arrays import arrow_array, index_array
from manyheads.data.tables.columns import ArrowColumn
from manyheads.data.tables.streams.stream import ERROR_COLUMN
from manyheads.data.texts.texts import texts_of_cells
from manyheads.errors import DataError, ManyheadsError, MissingColumnError, did_you_mean, listed
from manyheads.inference.answer_parts import Predict, answers_by_part
from manyheads.inference.flags import FLAG_COLUMN, flags_of
from manyheads.inference.scorer import Scorer
from manyheads.inference.settings import ScoringSettings


@dataclass(frozen=True)
class RowAnswers:
    """Adds the columns of predictions, ``text_flag`` and ``error`` to rows.

    Attributes:
        predict: Predicts texts.
        text: The column of texts, or two for pairs.
        listed: Whether the texts are lists of words written as text.
        columns: The names and types of the predictions' columns.
        all_scores: Whether there is a column per label.
        truncated_is_error: Whether a truncated text is an error of its row.
    """

    predict: Predict
    text: Sequence[str]
    listed: bool
    columns: pa.Schema
    all_scores: bool
    truncated_is_error: bool

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return rows with their answers.

        Args:
            rows: The columns of the table and ``ERROR_COLUMN``, with errors of rows that could not be read.

        Raises:
            BackboneError: no row could be answered.
        """
        errors = rows.column(ERROR_COLUMN).to_pylist()
        places = np.flatnonzero([error is None for error in errors])
        readable = rows.take(index_array(places))
        texts = texts_of_cells([ArrowColumn(readable.column(name)).values() for name in self.text], self.listed)
        found, order = [pa.Table.from_batches([], self.columns)], np.full(len(errors), -1)
        flags: list[str | None] = [None] * len(errors)
        for part, answer in answers_by_part(self.predict, texts):
            own = places[part]
            if isinstance(answer, ManyheadsError):
                errors[own[0]] = str(answer)
                continue
            order[own] = np.arange(len(own)) + sum(table.num_rows for table in found)
            found.append(answer.to_arrow(self.all_scores))
            for row, flag in zip(own.tolist(), flags_of(answer), strict=True):
                flags[row] = flag
        if self.truncated_is_error:
            _reject_truncated(flags, errors, order)
        answered = pa.concat_tables(found).take(index_array(order))
        return _joined(rows.drop_columns([ERROR_COLUMN]), answered, flags, errors)


@dataclass(frozen=True)
class AnswerSettings:
    """All that ``RowAnswers`` needs beside the model, as values that can be sent to other processes.

    Attributes:
        heads: Names of the heads.
        text: The column of texts, or two for pairs.
        settings: How texts are scored.
        listed: Whether the texts are lists of words written as text.
        columns: The names and types of the predictions' columns.
        all_scores: Whether there is a column per label.
    """

    heads: Sequence[str]
    text: Sequence[str]
    settings: ScoringSettings
    listed: bool
    columns: pa.Schema
    all_scores: bool

    def answers(self, scorer: Scorer) -> RowAnswers:
        """Return what answers rows with a model."""
        rejects = self.settings.long_text == "error"
        settings = replace(self.settings, long_text="truncate") if rejects else self.settings
        predict = predict_with(scorer.with_settings(settings), self.heads)
        return RowAnswers(predict, self.text, self.listed, self.columns, self.all_scores, rejects)


def predict_with(scorer: Scorer, heads: Sequence[str]) -> Predict:
    """Return a function that predicts texts with some heads.

    Args:
        scorer: Without a cache: rows that it held would leave the batches, and so change the last bits of the others.
        heads: Names of the heads.
    """
    return lambda texts: scorer(texts, heads)


def columns_of(predict: Predict, is_pair: bool, all_scores: bool) -> pa.Schema:
    """Return the names and types of the columns that predictions add, from those of an empty text.

    Raises:
        ManyheadsError: the heads or the settings allow no prediction.
    """
    texts = texts_of_cells([[None]] * (2 if is_pair else 1), listed=False)
    return predict(texts).to_arrow(all_scores).schema


def check_text_columns(columns: Sequence[str], text: Sequence[str], name: str) -> None:
    """Check that a table has the columns of texts.

    Raises:
        MissingColumnError: it has not.
    """
    for column in text:
        if column not in columns:
            guess = did_you_mean(column, columns)
            raise MissingColumnError(f"{name} has no column {column!r}{guess} Its columns: {listed(columns, most=20)}")


def check_names(columns: Sequence[str], added: Sequence[str], name: str) -> None:
    """Check that a table has no column of the name of an added one.

    Raises:
        DataError: it has.
    """
    taken = sorted(set(columns) & {*added, FLAG_COLUMN, ERROR_COLUMN})
    if taken:
        raise DataError(f"{name}: already has the columns {listed(taken)}, which the scores need; rename them")


def _reject_truncated(flags: list[str | None], errors: list[str | None], order: np.ndarray) -> None:
    for row, flag in enumerate(flags):
        if flag == "truncated":
            flags[row], order[row] = None, -1
            errors[row] = "the text has more tokens than the limit; shorten it, or allow long_text='truncate'"


def _joined(rows: pa.Table, answered: pa.Table, flags: Sequence[str | None], errors: Sequence[str | None]) -> pa.Table:
    names = [*answered.column_names, FLAG_COLUMN, ERROR_COLUMN]
    for name, column in zip(
        names, [*answered.columns, arrow_array(flags, pa.string()), arrow_array(errors, pa.string())], strict=True
    ):
        rows = rows.append_column(name, column)
    return rows
