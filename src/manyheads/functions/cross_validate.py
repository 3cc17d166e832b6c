"""``cross_validate``: measure what training on a table gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manyheads.data.labelled import Reading
from manyheads.evaluation.report import Report
from manyheads.model import HeadedModel
from manyheads.training import Method
from manyheads.training.methods import as_method
from manyheads.validation.cross_validate import cross_validate_table


def cross_validate(
    model: HeadedModel,
    data: object,
    text: str | Sequence[str],
    method: Method | type[Method] | str | None = None,
    folds: int = 5,
    repeats: int = 1,
    heads: Iterable[str] | None = None,
    by: str | Sequence[str] = (),
    learning_curve: bool = False,
    max_length: int | None = None,
    long_text: str = "truncate",
    seed: int = 0,
    weight: str | None = None,
) -> Report:
    """Measure what training on a table gives, on all its rows: each fold is predicted by heads trained on the others.

    In every fold, the whole procedure runs anew: the search of taps, penalty, temperature and thresholds. Equal texts
    are in one fold. ``Frozen`` computes the features of each text once for all folds. The model does not change, and
    its heads may be untrained. Train on all rows afterwards with ``train``.

    Args:
        model: The model.
        data: As in ``train``.
        text: The text column, or two columns for text pairs.
        method: As in ``train``. One that tunes weights trains from the start in each fold.
        folds: Number of folds.
        repeats: Number of divisions into folds. Metrics and their intervals are means over the divisions; mistakes,
            slices and all else that belongs to single rows are of the first division.
        heads: Names of the heads; all by default.
        by: Columns by whose values the rows are sliced, besides the length of the text.
        learning_curve: Whether to train on an eighth, a quarter and a half of each fold's training rows too, and to
            extrapolate to twice as many as there are.
        max_length: Maximum tokens per text; the backbone's limit by default.
        long_text: ``"truncate"`` longer texts, or raise an ``"error"``.
        seed: Of the folds and of the trainings.
        weight: A column with the weight of each row in training; see ``train``.

    Returns:
        The report of ``evaluate``, on out-of-fold predictions.

    Raises:
        DataError: a table, column, text or label that cannot be used, or more folds than different texts.
        LabelError: without one of the folds, a head has too few labels to train on.
        MethodError: a method that chooses its epoch by the rows that a fold tests.

    Examples:
        >>> report = mh.cross_validate(model, table, text="note", folds=3)
        >>> report.heads["urgency"].rows
        24
    """
    return cross_validate_table(
        model.core,
        model.tokenizer,
        data,
        as_method(method),
        heads,
        Reading(text, max_length, long_text, weight),
        folds,
        repeats,
        [by] if isinstance(by, str) else list(by),
        learning_curve,
        seed,
    )
