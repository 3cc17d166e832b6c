"""A report as text."""

from __future__ import annotations

from manyheads.evaluation.report.report import Report


def as_text(report: Report) -> str:
    """Return a report as text."""
    return repr(report)
