"""Build a report from the predictions of labelled rows, however they were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from manyheads.errors import counted
from manyheads.evaluation.baselines import TrainingRows, baselines_of
from manyheads.evaluation.calibration import calibration
from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.joint import joint_accuracy
from manyheads.evaluation.kinds import Measures
from manyheads.evaluation.report.costs import costs_of
from manyheads.evaluation.report.report import Answered, HeadReport, Report, Sets
from manyheads.evaluation.report.verdict import verdict
from manyheads.evaluation.resamples import Resamples, interval, intervals
from manyheads.evaluation.risk_coverage import RiskCoverage, risk_coverage
from manyheads.evaluation.slices import Part, parts_of, slices_of
from manyheads.runtime.progress import spinner

# With fewer labelled rows, the standard error of an accuracy of .8 is above .07.
FEW_ROWS = 30


@dataclass(frozen=True, eq=False)
class EvaluatedTable:
    """What all heads' rows have in common.

    Attributes:
        source: The table's name.
        procedure: A sentence on how the predictions were made.
        texts: The text, or pair of texts, of each row.
        flags: What texts may be -> (rows,) booleans: ``"truncated"`` or ``"split"``.
        columns: Column name -> its cells, by whose values the rows are sliced.
        notes: Sentences for the user.
    """

    source: str
    procedure: str
    texts: Sequence[Any]
    flags: Mapping[str, np.ndarray] = field(default_factory=dict)
    columns: Mapping[str, Sequence[object]] = field(default_factory=dict)
    notes: Sequence[str] = ()


def build_report(
    table: EvaluatedTable,
    heads: Mapping[str, EvaluatedRows],
    train: Mapping[str, TrainingRows] | None = None,
) -> Report:
    """Return the report of predictions.

    Args:
        table: The rows.
        heads: Head name -> its predictions of all rows of the table, at least one of which has a label of it. Logits of
            rows without a label may be anything.
        train: Head name -> training rows, on which the baselines are fitted. By default they are fitted on the
            evaluated rows themselves; see ``evaluation/baselines``.
    """
    parts = parts_of(table.texts, table.flags, table.columns)
    reports = {}
    for name, rows in heads.items():
        with spinner(f"Measuring {name}"):
            reports[name] = _head_report(name, rows, parts, None if train is None else train[name].labelled())
    any_label = np.zeros(len(table.texts), dtype=bool)
    for rows in heads.values():
        any_label[rows.labelled] = True
    joint = joint_accuracy(heads, table.texts)
    return Report(table.source, table.procedure, int(any_label.sum()), reports, joint, tuple(table.notes))


def _head_report(name: str, rows: EvaluatedRows, parts: Sequence[Part], train: TrainingRows | None) -> HeadReport:
    measures, texts = rows.measures, [rows.texts[row] for row in rows.labelled.tolist()]
    resamples = Resamples(texts)
    metrics, main = measures.metrics, rows.spec.main_metric
    baselines = baselines_of(measures, rows.as_training_rows(), resamples, train)
    statements = measures.statements()
    # By its own labels, metrics are those of `by_label`.
    others = [part for part in parts if part.column != (rows.spec.column or name)]
    slices, small = slices_of(measures, rows.texts, rows.labelled, others)
    return HeadReport(
        name=name,
        kind=rows.spec.kind,
        labels=tuple(getattr(measures.rows.spec, "classes", ())),
        unknown_labels=() if rows.unknown is None else tuple(rows.unknown.labels),
        rows=len(measures.rows),
        main_metric=main,
        metrics=metrics,
        intervals=intervals(resamples.metrics(measures)),
        verdict=verdict(name, metrics[main], baselines),
        baselines=baselines,
        by_label=tuple(measures.by_label()),
        confusion=measures.confusion(),
        calibration=None if statements is None else calibration(statements),
        risk_coverage=_risk_coverage(measures),
        decision=rows.decision,
        answered=_answered(measures),
        sets=_sets(measures, resamples),
        costs=costs_of(measures, resamples),
        slices=slices,
        small_slices=small,
        notes=tuple(_notes(name, rows, resamples)),
        evaluated=rows,
    )


def _risk_coverage(measures: Measures) -> RiskCoverage | None:
    confidence = measures.confidence()
    return None if confidence is None else risk_coverage(confidence, measures.right)


def _answered(measures: Measures) -> Answered | None:
    """Return the metrics of the rows that a head answers, of those that sums give."""
    abstained = measures.abstained()
    if abstained is None:
        return None
    rows = np.flatnonzero(~abstained)
    sums = measures.sums.rows(rows).total()
    metrics = {name: float(value[0]) for name, value in measures.from_sums(sums).items()} if len(rows) else {}
    return Answered(len(rows), len(rows) / len(abstained), metrics)


def _sets(measures: Measures, resamples: Resamples) -> Sets | None:
    found = measures.sets()
    if found is None:
        return None
    covered, sizes = found
    ends = interval(resamples.means(covered))
    promised = measures.rows.decision.set_coverage
    return Sets(promised, float(covered.mean()), ends, float(sizes.mean()), float((sizes == 1).mean()))


def _notes(name: str, rows: EvaluatedRows, resamples: Resamples) -> list[str]:
    """Return sentences on labels that only the table has, and on too few rows."""
    found, labelled, right = [], len(rows.labelled), rows.measures.right
    if rows.unknown is not None:
        found.append(
            f"Head {name!r}: the table has {counted(len(rows.unknown.labels), 'label')} that the head does not have: "
            f"{rows.unknown.shown}; they count as wrong, and not in the log loss."
        )
    if labelled < FEW_ROWS:
        found.append(f"Head {name!r}: {counted(labelled, 'labelled row')}, too few for reliable metrics.")
    if right.all() and rows.measures.counts_as_right_or_wrong:
        # The rule of three: without an error in n rows, 1 - 0.05 ** (1 / n) is below 3 / n.
        found.append(
            f"Head {name!r}: no error in {counted(labelled, 'row')}, so its intervals have no width; of new rows, up "
            f"to {min(3 / resamples.count, 1):.1%} may still be wrong."
        )
    return found
