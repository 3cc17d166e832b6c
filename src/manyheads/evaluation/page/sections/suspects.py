"""Labels of the table that are probably wrong."""

from __future__ import annotations

from manyheads.evaluation.page.blocks import Example, Examples, Section, folded_after
from manyheads.evaluation.page.clean import label_text, shown_text
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.suspect_label import SuspectLabel
from manyheads.evaluation.report.wording import number

_AT_ONCE, _MOST = 5, 50


def suspects_section(subject: Subject) -> Section | None:
    """Return the suspect labels, the least probable first."""
    if not subject.suspects:
        return None
    shown = sorted(subject.suspects, key=lambda one: (one.score, one.row))[:_MOST]
    about = (
        f"{len(subject.suspects):,} labels that heads trained without their rows find improbable, the least probable "
        f"first{f'; {_MOST} are shown' if len(subject.suspects) > _MOST else ''}. Correct them, or confirm them."
    )
    return Section("Suspect labels", about, folded_after(_AT_ONCE, list(map(_example, shown)), Examples, "{} more"))


def _example(one: SuspectLabel) -> Example:
    facts = [
        ("given", label_text(one.given)),
        ("suggested", label_text(one.suggested)),
        ("probability of the given one", number(one.score)),
    ]
    return Example(one.row + 1, shown_text(one.text), facts)
