"""A report for a terminal: tables and sentences."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from manyheads.evaluation.kinds import worst_first
from manyheads.evaluation.report.report import HeadReport, Report
from manyheads.evaluation.report.sentences import calibration_sentence, decision_sentences
from manyheads.evaluation.report.terminal_parts import formulas, shown, table
from manyheads.evaluation.report.wording import between, ends_of, number, words

# Lines of each list that are shown; `to_dict` has more.
_MOST_LABELS, _MOST_SLICES, _MOST_MISTAKES = 10, 5, 3


def report_view(report: Report) -> Iterator[RenderableType]:
    """Yield the parts of a report."""
    yield Text(f"{report.procedure} {report.rows:,} labelled rows.")
    yield _overview(report)
    for head in report.heads.values():
        yield from _head(head)
    if report.joint is not None:
        joint = report.joint
        yield Text(
            f"{', '.join(joint.heads)}: all right in {joint.value:.1%} of {joint.rows:,} rows with a label of each"
            f"{between(joint.interval)}."
        )
    for note in report.notes:
        yield Text(note)
    yield Text("")
    yield Text("95% intervals are from 1,000 resamples of the texts. What the measures mean:")
    yield formulas(name for head in report.heads.values() for name in head.metrics)


def _overview(report: Report) -> Table:
    found = table("head", "rows", "metric", "value", "95% interval", "majority", "words", left=("head", "metric"))
    for head in report.heads.values():
        baselines = [number(one.metrics[head.main_metric]) for one in head.baselines]
        value, interval = head.metrics[head.main_metric], head.intervals.get(head.main_metric)
        cells = [f"{head.rows:,}", words(head.main_metric), number(value), ends_of(interval), *baselines, ""]
        found.add_row(*map(Text, [head.name, *cells[:6]]))
    return found


def _head(head: HeadReport) -> Iterator[RenderableType]:
    yield Text(head.name, style="bold")
    curve = [] if head.learning_curve is None else [head.learning_curve.sentence]
    sentences = [head.verdict, *calibration_sentence(head), *decision_sentences(head), *curve, *head.notes]
    for sentence in sentences:
        yield Padding(Text(sentence), (0, 0, 0, 2))
    yield _metrics(head)
    for one in head.baselines:
        yield Padding(Text(f"{one.name}: {one.about}", style="dim"), (0, 0, 0, 2))
    if head.by_label:
        yield _labels(head)
    if head.slices:
        yield _slices(head)
    if head.mistakes:
        yield Text("  Most confident mistakes")
    for mistake in head.mistakes[:_MOST_MISTAKES]:
        answers = f"{shown(mistake.prediction)} ({number(mistake.score)}), not {shown(mistake.truth)}"
        yield Padding(Text(f"row {mistake.row + 1}: {answers}: {shown(mistake.text)}"), (0, 0, 0, 2))
    yield Text("")


def _metrics(head: HeadReport) -> Table:
    found = table("metric", "value", "95% interval", *(one.name for one in head.baselines), left=("metric",))
    for name, value in head.metrics.items():
        others = [number(one.metrics[name]) for one in head.baselines]
        found.add_row(*map(Text, [words(name), number(value), ends_of(head.intervals.get(name)), *others]))
    return found


def _labels(head: HeadReport) -> Table:
    """Return the labels with the smallest F1."""
    worst = worst_first(head.by_label)[:_MOST_LABELS]
    title = "label" if len(worst) == len(head.by_label) else f"worst of {len(head.by_label)} labels"
    found = table(title, "precision", "recall", "F1", "rows", "predicted", left=(title,))
    for one in worst:
        counts = [f"{one.rows:,}", f"{one.predicted:,}"]
        found.add_row(*map(Text, [shown(one.label), *map(number, (one.precision, one.recall, one.f1)), *counts]))
    return found


def _slices(head: HeadReport) -> Table:
    metric = words(head.slices[0].metric)
    found = table("worst slices", "rows", metric, "95% interval", left=("worst slices",))
    for one in head.slices[:_MOST_SLICES]:
        name = f"{one.column}: {shown(one.value)}"
        found.add_row(*map(Text, [name, f"{one.rows:,}", number(one.score), ends_of(one.interval)]))
    return found
