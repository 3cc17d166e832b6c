"""``label_issues``: find labels that are probably wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from manyheads.data.labelled import Reading
from manyheads.labelling.find_issues import find_label_issues
from manyheads.labelling.label_issues import LabelIssues
from manyheads.model import HeadedModel
from manyheads.training import Method
from manyheads.training.methods import as_method


def label_issues(
    model: HeadedModel,
    data: object,
    text: str | Sequence[str],
    heads: Iterable[str] | None = None,
    method: Method | type[Method] | str | None = None,
    folds: int = 5,
    max_length: int | None = None,
    long_text: str = "truncate",
    seed: int = 0,
) -> LabelIssues:
    """Find the labels of a table that are probably wrong, by confident learning (Northcutt et al. 2021).

    Each row is scored by heads that were trained without its fold, as in ``cross_validate``, so the model's heads may
    be untrained. cleanlab compares these scores with the labels. The model is not changed.

    Args:
        model: The model.
        data: As in ``train``.
        text: The text column, or two columns for text pairs.
        heads: Names of ``Multiclass``, ``Ordinal`` or ``MultiLabel`` heads; all of these by default.
        method: As in ``train``.
        folds: Number of folds.
        max_length: Maximum tokens per text; the backbone's limit by default.
        long_text: ``"truncate"``, or raise an ``"error"`` for longer texts.
        seed: Of the folds and of the trainings.

    Returns:
        A sequence of issues, the least probable labels first. ``save`` writes them as a table to correct and train on.

    Raises:
        MissingExtraError: cleanlab is not installed.
        HeadError: there is no such head.
        DataError: a table, column, text or label that cannot be used, or more folds than different texts.

    Examples:
        >>> issues = mh.label_issues(model, table, text="note")
        >>> len(issues) < len(table)
        True
    """
    reading = Reading(text, max_length, long_text)
    return find_label_issues(model.core, model.tokenizer, data, as_method(method), heads, reading, folds, seed)
