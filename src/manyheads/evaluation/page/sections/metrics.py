"""Metrics beside those of the baselines."""

from __future__ import annotations

from manyheads.evaluation.baselines import Baseline
from manyheads.evaluation.metric_facts import METRICS
from manyheads.evaluation.page.blocks import Cell, Section, Sentences, Table, Term
from manyheads.evaluation.page.names import BASELINES
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.report.report import HeadReport
from manyheads.evaluation.report.wording import ends_of, number, words


def metrics_section(subject: Subject) -> Section:
    """Return the metrics; each opens to its formula."""
    head = subject.head
    columns = ["metric", "value", "95% interval", *(BASELINES[one.name] for one in head.baselines)]
    rows = [_row(head, name) for name in head.metrics]
    table = Table(f"Metrics of {head.rows:,} labelled rows", columns, rows)
    about = "Open a metric for its formula. Intervals are from 1,000 resamples of the texts, drawn with replacement."
    return Section("Metrics", about, [table, Sentences([_about(one) for one in head.baselines])])


def _row(head: HeadReport, name: str) -> list[Cell]:
    fact = METRICS[name]
    meaning = f"{fact.formula}; {'larger' if fact.larger_is_better else 'smaller'} is better"
    others = [number(one.metrics[name]) for one in head.baselines]
    return [Term(words(name), meaning), number(head.metrics[name]), ends_of(head.intervals.get(name)), *others]


def _about(one: Baseline) -> str:
    name = BASELINES[one.name]
    return f"{name[0].upper()}{name[1:]}: {one.about}."
