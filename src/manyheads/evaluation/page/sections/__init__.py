"""The sections of a head: each from its report to what is shown, or nothing where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable

from manyheads.evaluation.page.blocks import Section
from manyheads.evaluation.page.sections.calibration import calibration_section
from manyheads.evaluation.page.sections.confusion import confusion_section
from manyheads.evaluation.page.sections.decision import decision_section
from manyheads.evaluation.page.sections.labels import labels_section
from manyheads.evaluation.page.sections.learning_curve import learning_curve_section
from manyheads.evaluation.page.sections.metrics import metrics_section
from manyheads.evaluation.page.sections.mistakes import mistakes_section
from manyheads.evaluation.page.sections.numbers import numbers_section
from manyheads.evaluation.page.sections.precision_recall import precision_recall_section
from manyheads.evaluation.page.sections.reads import reads_section
from manyheads.evaluation.page.sections.slices import slices_section
from manyheads.evaluation.page.sections.suspects import suspects_section
from manyheads.evaluation.page.sections.training import training_section
from manyheads.evaluation.page.subject import Subject

# In the order of the page.
SECTIONS: tuple[Callable[[Subject], Section | None], ...] = (
    metrics_section,
    confusion_section,
    labels_section,
    numbers_section,
    precision_recall_section,
    calibration_section,
    decision_section,
    slices_section,
    mistakes_section,
    suspects_section,
    learning_curve_section,
    reads_section,
    training_section,
)


def sections_of(subject: Subject) -> list[Section]:
    """Return the sections that have something to show."""
    found = (section(subject) for section in SECTIONS)
    return [section for section in found if section is not None]
