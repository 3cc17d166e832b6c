"""``evaluate``: measure the heads of a model on labelled rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from manyheads.data.labelled import Reading
from manyheads.evaluation.evaluate import evaluate_table
from manyheads.evaluation.report import Report
from manyheads.features import open_cache
from manyheads.model import HeadedModel


def evaluate(
    model: HeadedModel,
    data: object,
    text: str | Sequence[str],
    heads: Iterable[str] | None = None,
    by: str | Sequence[str] = (),
    train_data: object = None,
    max_length: int | None = None,
    long_text: str = "truncate",
    cache: str | Path | None = None,
) -> Report:
    """Measure a model's heads on labelled rows that they were not trained on. The model does not change.

    Each head is measured on the rows with a label of it. Labels that only this table has are named and count as wrong.
    Empty texts are measured too, since ``predict`` answers them.

    Args:
        model: The model.
        data: As in ``train``.
        text: The text column, or two columns for text pairs.
        heads: Names of the heads; all by default.
        by: Columns by whose values the rows are sliced, besides the length of the text.
        train_data: The training table, to fit the baselines on. By default they are fitted on the evaluated rows
            themselves: the constant answer is the best one of these rows, and the model of words is cross-validated.
        max_length: Maximum tokens per text; the backbone's limit by default.
        long_text: ``"truncate"`` longer texts, read them in windows as in ``predict`` (``"mean"``, ``"max"``), or raise
            an ``"error"``.
        cache: Folder of a feature cache, or ``"auto"``, as in ``predict``.

    Returns:
        Per head: metrics with 95% intervals, baselines, calibration, risk at every coverage, slices and mistakes.

    Raises:
        DataError: a table, column, text or label that cannot be used, such as a head without any label.
        UnknownHeadError: no head has one of these names.

    Examples:
        >>> report = mh.evaluate(trained, table, text="note")
        >>> report.metrics["urgency"]["accuracy"] > 0.3
        True
    """
    columns = [by] if isinstance(by, str) else list(by)
    reading = Reading(text, max_length, long_text)
    kept = open_cache(cache)
    return evaluate_table(model.core, model.tokenizer, data, reading, heads, columns, train_data, kept)
