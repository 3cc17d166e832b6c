"""How scores become answers, and the errors among the answers that the head is surest of."""

from __future__ import annotations

from collections.abc import Iterator

from manyheads.evaluation.page.blocks import Block, Pictures, Section, Sentences
from manyheads.evaluation.page.charts.risk_coverage import risk_coverage_curve
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.report import HeadReport
from manyheads.evaluation.report.sentences import decision_sentences
from manyheads.heads import Decision

_SETS = {"lac": "of at least", "aps": "summed from the most probable label on up to"}


def decision_section(subject: Subject) -> Section | None:
    """Return the decision in words, and the risk-coverage curve of heads that can abstain."""
    head = subject.head
    sentences = [*_settings(head.decision), *decision_sentences(head)]
    pictures = list(_curve(head))
    if not sentences and not pictures:
        return None
    return Section("From scores to answers", "", [*pictures, Sentences(sentences)])


def _curve(head: HeadReport) -> Iterator[Block]:
    if head.risk_coverage is None:
        return
    legend = (
        "If only the rows that it is surest of are answered: the share of wrong answers among them, for every share of "
        "rows answered."
    )
    yield Pictures([risk_coverage_curve(head.risk_coverage, _answered(head))], legend)


def _answered(head: HeadReport) -> tuple[float, float] | None:
    if head.answered is None or not head.answered.rows:
        return None
    abstained, right = head.evaluated.measures.abstained(), head.evaluated.measures.right
    return None if abstained is None else (head.answered.share, float((~right[~abstained]).mean()))


def _settings(decision: Decision) -> Iterator[str]:
    """Yield a sentence on each setting of a decision that differs from its default."""
    if decision.temperature != 1:
        changed = "less" if decision.temperature > 1 else "more"
        yield f"Temperature {decision.temperature:.3g}: scores are of the logits divided by it, {changed} sure than without."
    if decision.thresholds is not None:
        low, high = min(decision.thresholds), max(decision.thresholds)
        between = f"{low:.3g}" if low == high else f"its own threshold, from {low:.3g} to {high:.3g}"
        yield f"A label is predicted where its score is at least {between}."
    if decision.abstain_below is not None:
        yield f"It abstains where the {decision.abstain_by} score is below {decision.abstain_below:.3g}."
    if decision.set_threshold is not None:
        promised = "" if decision.set_coverage is None else f", of which {decision.set_coverage:.0%} contain the right label"
        yield f"Prediction sets ({decision.set_by}) hold the labels with a score {_SETS[decision.set_by]} {decision.set_threshold:.3g}{promised}."
    if decision.costs is not None:
        yield f"It answers with the label of the least expected cost; an error costs up to {max(map(max, decision.costs)):g}."
