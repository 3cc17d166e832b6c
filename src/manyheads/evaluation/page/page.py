"""The whole page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from manyheads._version import VERSION
from manyheads.errors import counted
from manyheads.evaluation.page.blocks import Section
from manyheads.evaluation.page.environment import environment
from manyheads.evaluation.page.model_sections import model_sections
from manyheads.evaluation.page.names import Standing, standing
from manyheads.evaluation.page.overview import Card, card
from manyheads.evaluation.page.sections import sections_of
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.report import HeadReport, Report
from manyheads.evaluation.report.suspect_label import SuspectLabel
from manyheads.evaluation.report.wording import between


@dataclass(frozen=True)
class HeadPart:
    """The part of one head.

    Attributes:
        anchor: Where links to it lead.
        name: The head's name.
        about: Its kind, labels and rows.
        verdict: What it is worth, in a sentence.
        standing: The same in a few words.
        notes: Sentences for the user.
        sections: Its sections.
        card: Its line in the overview.
    """

    anchor: str
    name: str
    about: str
    verdict: str
    standing: Standing
    notes: tuple[str, ...]
    sections: list[Section]
    card: Card


def html_page(report: Report, suspects: Iterable[SuspectLabel] = ()) -> str:
    """Return a report as one HTML page, with style and pictures inside.

    Args:
        report: The report.
        suspects: Labels that are probably wrong.
    """
    heads = list(_heads(report, list(suspects)))
    template = environment().get_template("page.html.jinja")
    return template.render(
        report=report, heads=heads, sections=model_sections(report), between=between, version=VERSION
    )


def _heads(report: Report, suspects: list[SuspectLabel]) -> Iterator[HeadPart]:
    for place, (name, head) in enumerate(report.heads.items(), start=1):
        made = None if report.made is None else report.made.heads.get(name)
        subject = Subject(head, made, [one for one in suspects if one.head == name])
        yield HeadPart(
            anchor=f"head-{place}",
            name=name,
            about=_about(head),
            verdict=head.verdict,
            standing=standing(head),
            notes=head.notes,
            sections=sections_of(subject),
            card=card(head),
        )


def _about(head: HeadReport) -> str:
    own = len(head.labels) - len(head.unknown_labels)
    labels = f", {counted(own, 'label')}" if head.labels else ""
    return f"{head.kind}{labels}, {counted(head.rows, 'labelled row')}"
