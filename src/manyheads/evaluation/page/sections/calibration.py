"""Whether probabilities mean what they say."""

from __future__ import annotations

from manyheads.evaluation.page.blocks import Pictures, Section
from manyheads.evaluation.page.charts.reliability import reliability_diagram
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.sentences import calibration_sentence


def calibration_section(subject: Subject) -> Section | None:
    """Return the reliability diagram, for heads with probabilities."""
    found = subject.head.calibration
    if found is None:
        return None
    legend = (
        f"A dot per bin of equally many {found.unit}. On the dashed line, probabilities are right; of a perfectly "
        "calibrated head, 95% of the dots would be in the gray band."
    )
    about = "A score is a probability: of all answers with a score of 0.8, 80% should be right."
    picture = Pictures([reliability_diagram(found)], legend, list(calibration_sentence(subject.head)))
    return Section("Do scores mean what they say?", about, [picture])
