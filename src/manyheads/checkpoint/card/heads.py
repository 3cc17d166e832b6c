"""The section of a model card on each head: its kind, its labels, what it reads, how it decides."""

from __future__ import annotations

from dataclasses import dataclass

from manyheads.checkpoint.card.decisions import sentences
from manyheads.checkpoint.card.markdown import code, labels_as_code, table
from manyheads.checkpoint.card.training import label_rows, rows_of
from manyheads.checkpoint.format import HeadRecord
from manyheads.errors import counted

MOST_LABELS = 30


@dataclass(frozen=True)
class HeadSection:
    """One head, as Markdown.

    Attributes:
        name: The head's name.
        kind: Its kind and number of labels.
        reads: Its taps.
        state: Whether it was trained, and on how many rows.
        labels: The table of its labels, or an empty text.
        decision: Sentences on its decision.
    """

    name: str
    kind: str
    reads: str
    state: str
    labels: str
    decision: list[str]


def head_section(name: str, head: HeadRecord) -> HeadSection:
    """Return the section on one head."""
    labels = labels_as_code(getattr(head.spec, "labels", ()))
    kind = code(head.spec.owner) + (f", {counted(len(labels), 'label')}" if labels else "")
    return HeadSection(
        code(name),
        kind,
        " + ".join(code(str(tap)) for tap in head.taps),
        _state(head),
        _label_table(head, labels),
        sentences(head.decision, labels) if labels else [],
    )


def _state(head: HeadRecord) -> str:
    train = rows_of(head, "train")
    if train is not None:
        return f"trained on {counted(train, 'row')}"
    if head.trained:
        return "trained"
    return "zero-shot" if head.spec.needs_no_training else "**not trained: its predictions are random**"


def _label_table(head: HeadRecord, labels: list[str]) -> str:
    """Return a row per label, as many as are shown, with what is known of each."""
    columns = {"label": labels}
    counts, thresholds = label_rows(head), head.decision.thresholds
    if counts is not None:
        columns["training rows"] = [f"{count:,}" for count in counts]
    if thresholds is not None:
        columns["threshold"] = [f"{threshold:.3g}" for threshold in thresholds]
    if len(columns) == 1:
        return _plain_list(labels)
    more = len(labels) - MOST_LABELS
    rows = list(zip(*columns.values(), strict=True))[:MOST_LABELS]
    rest = f"\n\nAnd {counted(more, 'more label')}; `heads.json` has all of them." if more > 0 else ""
    return table(list(columns), rows) + rest


def _plain_list(labels: list[str]) -> str:
    if not labels:
        return ""
    more = len(labels) - MOST_LABELS
    rest = f" and {more:,} more; `heads.json` has all of them" if more > 0 else ""
    return f"Labels: {', '.join(labels[:MOST_LABELS])}{rest}."
