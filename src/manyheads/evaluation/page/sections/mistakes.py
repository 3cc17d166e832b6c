"""The most confident mistakes, with their texts."""

from __future__ import annotations

from manyheads.evaluation.evaluated_rows import Mistake
from manyheads.evaluation.page.blocks import Example, Examples, Section, folded_after
from manyheads.evaluation.page.clean import label_text
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.wording import number

_AT_ONCE = 5


def mistakes_section(subject: Subject) -> Section | None:
    """Return the rows on which the head was surest of a wrong answer, or furthest from a number."""
    mistakes = subject.head.mistakes
    if not mistakes:
        return None
    numbers = not subject.head.evaluated.measures.counts_as_right_or_wrong
    named = "error" if numbers else "score"
    about = (
        "The largest errors."
        if numbers
        else "Wrong answers with the largest score: hard texts, wrong labels, or something that the head has not learnt."
    )
    examples = [_example(one, named) for one in mistakes]
    return Section("Most confident mistakes" if not numbers else "Largest errors", about,
                   folded_after(_AT_ONCE, examples, Examples, "{} more"))  # fmt: skip


def _example(one: Mistake, named: str) -> Example:
    facts = [("true", label_text(one.truth)), ("predicted", label_text(one.prediction)), (named, number(one.score))]
    return Example(one.row + 1, label_text(one.text), facts)
