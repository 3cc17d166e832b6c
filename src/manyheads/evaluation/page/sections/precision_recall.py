"""Precision-recall curves of heads that decide about each label, and of two labels."""

from __future__ import annotations

from manyheads.evaluation.kinds import LabelScores
from manyheads.evaluation.page.blocks import Pictures, Section
from manyheads.evaluation.page.charts.precision_recall import precision_recall_curve
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.report import HeadReport

_MOST = 6
# The curve of a label with fewer rows is mostly chance: labels with more come first.
_ENOUGH_ROWS = 10
_ABOUT = (
    "Recall: share of the rows with the label for which it is predicted. Precision: share of the predictions that are "
    "right."
)
_READ = "Each point of a curve is a threshold of the label's score."


def precision_recall_section(subject: Subject) -> Section | None:
    """Return the curves of the labels, of many those with the smallest F1."""
    head, shown = subject.head, _shown(subject.head)
    if not shown:
        return None
    every = len([one for one in head.by_label if one.rows])
    part = f" Of {every} labels, {len(shown)} with a small F1 are shown." if every > len(shown) > 1 else ""
    marked = " The dot is the label's threshold." if any(one.threshold is not None for one in shown) else ""
    pictures = Pictures([precision_recall_curve(one) for one in shown], _READ + marked + part)
    return Section("Precision and recall", _ABOUT, [pictures])


def _shown(head: HeadReport) -> list[LabelScores]:
    scores = {one.label: one for one in head.evaluated.measures.label_scores if one.true.any()}
    if any(one.threshold is not None for one in scores.values()):
        found = [one for one in head.by_label if one.label in scores]
        worst = sorted(found, key=lambda one: (one.rows < _ENOUGH_ROWS, one.f1))
        return [scores[one.label] for one in worst[:_MOST]]
    # Of two labels, the curve of the rarer one says it all.
    return [min(scores.values(), key=lambda one: one.true.sum())] if len(head.labels) == 2 and scores else []
