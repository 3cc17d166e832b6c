"""The report: what is measured of every head, and how it is shown."""

from manyheads.evaluation.report.build import EvaluatedTable, build_report
from manyheads.evaluation.report.report import HeadReport, Report

__all__ = ["EvaluatedTable", "HeadReport", "Report", "build_report"]
