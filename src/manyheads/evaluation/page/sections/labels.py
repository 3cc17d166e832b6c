"""Metrics of each label, or entity type."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from manyheads.evaluation.kinds import LabelMetrics, worst_first
from manyheads.evaluation.page.blocks import Section, Sentences, Table, folded_after
from manyheads.evaluation.page.clean import label_text
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.wording import number

_MOST_LABELS, _AT_ONCE, _UNKNOWN = 300, 12, " (not a label of the head)"
_ABOUT = (
    "Precision: share of the predictions of a label that are right. Recall: share of the rows with the label for which "
    "it is predicted. F1: 2 right / (true + predicted). Support: number of {} with the label. The smallest F1 comes "
    "first."
)

# Header -> cell; columns that no label has a number for are left out.
_COLUMNS: dict[str, Callable[[LabelMetrics], float | None]] = {
    "F1": lambda one: one.f1,
    "precision": lambda one: one.precision,
    "recall": lambda one: one.recall,
    "ROC AUC": lambda one: one.roc_auc,
    "average precision": lambda one: one.average_precision,
    "threshold": lambda one: one.threshold,
}


def labels_section(subject: Subject) -> Section | None:
    """Return a table of the labels, those with the smallest F1 first."""
    head = subject.head
    if not head.by_label:
        return None
    ordered = worst_first(head.by_label)[:_MOST_LABELS]
    shown = {name: cell for name, cell in _COLUMNS.items() if any(cell(one) is not None for one in ordered)}
    columns = ["label", "support", "predicted", *shown]
    rows = [_row(one, list(shown.values()), set(head.unknown_labels)) for one in ordered]

    def table(some: Sequence[Sequence[str]]) -> Table:
        return Table("Metrics of each label", columns, some)

    blocks = folded_after(_AT_ONCE, rows, table, "{} more")
    rest = len(head.by_label) - len(ordered)
    left_out = [Sentences([f"{rest:,} labels with a larger F1 are left out."])] if rest else []
    entities = "entities" if "entity_f1" in head.metrics else "rows"
    return Section("Labels", _ABOUT.format(entities), [*blocks, *left_out])


def _row(one: LabelMetrics, cells: Sequence[Callable[[LabelMetrics], float | None]], unknown: set[object]) -> list[str]:
    name = label_text(one.label) + (_UNKNOWN if one.label in unknown else "")
    return [name, f"{one.rows:,}", f"{one.predicted:,}", *(number(cell(one)) for cell in cells)]
