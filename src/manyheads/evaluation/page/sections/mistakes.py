"""The most confident mistakes, with their texts."""

from __future__ import annotations

from manyheads.evaluation.evaluated_rows import Mistake
from manyheads.evaluation.page.blocks import Example, Examples, Section, folded_after
from manyheads.evaluation.page.clean import label_text, shown_text
from manyheads.evaluation.page.sections.differing_words import differing_words
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.report import HeadReport
from manyheads.evaluation.report.wording import number

_AT_ONCE = 5
# Kind -> what the score is.
_SCORES = {
    "multilabel": "the largest error of a probability, of any label",
    "tokens": "the smallest probability of a predicted label, of any word",
}
_PROBABILITY = "the probability of the predicted label"


def mistakes_section(subject: Subject) -> Section | None:
    """Return the rows on which the head was surest of a wrong answer, or furthest from a number."""
    head = subject.head
    if not head.mistakes:
        return None
    if not head.evaluated.measures.counts_as_right_or_wrong:
        return _listed("Largest errors", "Rows whose number is furthest from the predicted one.", "error", head)
    about = (
        "Wrong answers with the largest score: hard texts, wrong labels, or something that the head has not learned. "
        f"The score is {_SCORES.get(head.kind, _PROBABILITY)}."
    )
    return _listed("Most confident mistakes", about, "score", head)


def _listed(title: str, about: str, named: str, head: HeadReport) -> Section:
    examples = [_example(one, named, head) for one in head.mistakes]
    return Section(title, about, folded_after(_AT_ONCE, examples, Examples, "{} more"))


def _example(one: Mistake, named: str, head: HeadReport) -> Example:
    answers = differing_words(one, head.evaluated) or (one.truth, one.prediction)
    truth, prediction = map(label_text, answers)
    facts = [("true", truth), ("predicted", prediction), (named, number(one.score))]
    return Example(one.row + 1, shown_text(one.text), facts)
