"""Confusion matrix, and the labels that are confused most."""

from __future__ import annotations

import numpy as np

from manyheads.evaluation.page.blocks import Block, Pictures, Section, Table
from manyheads.evaluation.page.charts.confusion import confusion_matrix
from manyheads.evaluation.page.clean import label_text
from manyheads.evaluation.page.subject import Subject

_MOST_LABELS, _MOST_PAIRS = 20, 12
_ABOUT = (
    "A row per true label, a column per predicted one; the number of rows is in the cell. A cell is the darker, the "
    "larger its share of the rows with that true label. Right answers are on the outlined diagonal."
)


def confusion_section(subject: Subject) -> Section | None:
    """Return the matrix of the labels with the most confusions, if they are many, and the most confused pairs."""
    counts, labels = subject.head.confusion, subject.head.labels
    if counts is None or len(labels) < 2:
        return None
    kept = _most_confused(counts)
    named = [labels[place] for place in kept.tolist()]
    part = "" if len(kept) == len(labels) else f" The {len(kept)} of {len(labels)} labels in most errors are shown."
    picture = confusion_matrix(named, counts[np.ix_(kept, kept)], counts[kept].sum(axis=1))
    matrix = Pictures([picture], _ABOUT + part)
    return Section("Which labels are confused", "", [matrix, *_pairs(labels, counts)])


def _most_confused(counts: np.ndarray) -> np.ndarray:
    """Return the places of the labels in most errors, in their order."""
    errors = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return np.sort(np.argsort(-errors, kind="stable")[:_MOST_LABELS])


def _pairs(labels: tuple[object, ...], counts: np.ndarray) -> list[Block]:
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_PAIRS]
    places = [divmod(place, len(counts)) for place in order.tolist()]
    rows = [
        [label_text(labels[true]), label_text(labels[said]), f"{wrong[true, said]:,}", f"{counts[true].sum():,}"]
        for true, said in places
        if wrong[true, said]
    ]
    columns = ["true label", "predicted instead", "errors", "of rows"]
    return [Table("Most confused pairs", columns, rows, ["predicted instead"])] if rows else []
