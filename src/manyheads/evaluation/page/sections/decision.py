"""How scores become answers, and the errors among the answers that the head is surest of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from manyheads.evaluation.page.blocks import Block, Pictures, Section, Sentences
from manyheads.evaluation.page.charts.risk_coverage import risk_coverage_curve
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.report import HeadReport
from manyheads.evaluation.report.sentences import decision_sentences
from manyheads.heads import Decision

_SETS = {"lac": "1 - score", "aps": "sum of scores, from the most probable label on,"}
_LEGEND = (
    "If only the rows that it is surest of are answered: the share of wrong answers among them, for every share of "
    "rows answered."
)


def decision_section(subject: Subject) -> Section | None:
    """Return the decision in words, and the risk-coverage curve of heads that can abstain."""
    head = subject.head
    sentences = [*settings_sentences(head.decision), *decision_sentences(head)]
    if head.risk_coverage is None and not sentences:
        return None
    return Section("From scores to answers", "", [_curve(head, sentences)])


def _curve(head: HeadReport, sentences: list[str]) -> Block:
    if head.risk_coverage is None:
        return Sentences(sentences)
    return Pictures([risk_coverage_curve(head.risk_coverage, _answered(head))], _LEGEND, sentences)


def _answered(head: HeadReport) -> tuple[float, float] | None:
    """Return the share of rows that are answered, and that of errors among them, if the head abstains."""
    abstained, right = head.evaluated.measures.abstained(), head.evaluated.measures.right
    if abstained is None or abstained.all():
        return None
    return float((~abstained).mean()), float((~right[~abstained]).mean())


def settings_sentences(decision: Decision) -> Iterator[str]:
    """Yield a sentence on each setting of a decision that differs from its default."""
    for setting in decision.settings:
        if setting in _SENTENCES:
            yield _SENTENCES[setting](decision)


def _temperature(decision: Decision) -> str:
    changed = "less" if decision.temperature > 1 else "more"
    return (
        f"Temperature {decision.temperature:.3g}: scores are those of the logits divided by it, {changed} sure than "
        "without."
    )


def _thresholds(decision: Decision) -> str:
    low, high = min(decision.thresholds or [0.5]), max(decision.thresholds or [0.5])
    at_least = f"{low:.3g}" if low == high else f"its own threshold, from {low:.3g} to {high:.3g}"
    return f"A label is predicted where its score is at least {at_least}."


def _abstention(decision: Decision) -> str:
    sentence = f"It abstains where its abstention score ({decision.abstain_by}) is below {decision.abstain_below:.3g}."
    if decision.max_error is None:
        return sentence
    held = "on average" if decision.confidence is None else f"with a confidence of {decision.confidence:.3g}"
    return f"{sentence} Promised: at most {decision.max_error:.3g} of its answers are wrong, {held}."


def _sets(decision: Decision) -> str:
    return (
        f"Prediction sets hold the predicted label, and all with a {_SETS[decision.set_by]} of at most "
        f"{decision.set_threshold:.3g}."
    )


def _costs(decision: Decision) -> str:
    most = max(map(max, decision.costs or [[0.0]]))
    return f"It answers with the label of the least expected cost; the most expensive error costs {most:g}."


# Setting -> its sentence.
_SENTENCES: dict[str, Callable[[Decision], str]] = {
    "temperature": _temperature,
    "thresholds": _thresholds,
    "abstain_below": _abstention,
    "set_threshold": _sets,
    "costs": _costs,
}
