"""``Report``: how good each head is on labelled rows, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from manyheads.errors import UnknownHeadError, did_you_mean, listed
from manyheads.evaluation.baselines import Baseline
from manyheads.evaluation.calibration import Calibration
from manyheads.evaluation.evaluated_rows import EvaluatedRows, Mistake
from manyheads.evaluation.joint import JointAccuracy
from manyheads.evaluation.kinds import LabelMetrics
from manyheads.evaluation.learning_curve import LearningCurve
from manyheads.evaluation.report.costs import Costs
from manyheads.evaluation.report.made import Made
from manyheads.evaluation.report.plain import plain_json
from manyheads.evaluation.report.suspect_label import SuspectLabel
from manyheads.evaluation.resamples import Interval
from manyheads.evaluation.risk_coverage import RiskCoverage
from manyheads.evaluation.slices import Slice
from manyheads.heads import Decision

MOST_MISTAKES = 20


@dataclass(frozen=True, eq=False)
class Answered:
    """The rows that a head answers, where its decision lets it abstain.

    Attributes:
        rows: Number of labelled rows that are answered.
        share: Their share of the labelled rows.
        metrics: The metrics of these rows alone; empty if there are none.
    """

    rows: int
    share: float
    metrics: dict[str, float]


@dataclass(frozen=True, eq=False)
class Sets:
    """The prediction sets of a head whose decision gives some.

    Attributes:
        promised: The promised share of sets that contain the right label; ``None`` if none is recorded.
        covered: The share that does.
        interval: Its 95% interval.
        size: Mean number of labels in a set.
        single: Share of sets with one label.
    """

    promised: float | None
    covered: float
    interval: Interval | None
    size: float
    single: float


@dataclass(frozen=True, eq=False)
class HeadReport:
    """How good one head is. ``docs/how-to/evaluate.md`` has the formulas.

    Attributes:
        name: The head's name.
        kind: Its kind, such as ``"multiclass"``.
        labels: Its labels, then those that only the table has; for BIO tags, all tags; none for numbers.
        unknown_labels: The labels that only the table has. They count as wrong.
        rows: Number of labelled rows.
        main_metric: Name of the metric that compares models.
        metrics: Metric name -> value, of all labelled rows.
        intervals: Metric name -> its 95% interval by the bootstrap over texts. Metrics of ranks have none.
        verdict: One sentence on whether the head beats its baselines.
        baselines: Baselines on the same rows.
        by_label: Precision, recall, F1 and support of each label, or entity type.
        confusion: Counts (true label, predicted label) in the order of ``labels``; ``None`` where an item has not
            exactly one label.
        calibration: The calibration error beside its noise floor; ``None`` for numbers.
        risk_coverage: Errors at every share of answered rows; ``None`` for heads that do not abstain.
        decision: The head's decision.
        answered: The rows that it answers; ``None`` if it never abstains.
        sets: Its prediction sets; ``None`` if its decision has none.
        costs: The mean cost of its answers; ``None`` without costs.
        slices: Parts of the rows, the worst first.
        small_slices: Number of parts with too few rows to be shown.
        notes: Sentences for the user.
        evaluated: The rows, with targets and logits, that all of this was computed from.
        learning_curve: The main metric for fewer training rows, and for twice as many; ``None`` if not measured.
    """

    name: str
    kind: str
    labels: tuple[object, ...]
    unknown_labels: tuple[object, ...]
    rows: int
    main_metric: str
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    verdict: str
    baselines: tuple[Baseline, ...]
    by_label: tuple[LabelMetrics, ...]
    confusion: np.ndarray | None
    calibration: Calibration | None
    risk_coverage: RiskCoverage | None
    decision: Decision
    answered: Answered | None
    sets: Sets | None
    costs: Costs | None
    slices: tuple[Slice, ...]
    small_slices: int
    notes: tuple[str, ...]
    evaluated: EvaluatedRows = field(repr=False, metadata={"plain": False})
    learning_curve: LearningCurve | None = None

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """The most confident wrong answers, at most 20."""
        return self.evaluated.mistakes(MOST_MISTAKES)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the rows as plain JSON; an undefined number is ``None``."""
        return {**plain_json(self), "mistakes": plain_json(self.mistakes)}


@dataclass(frozen=True, eq=False)
class Report:
    """How good each head is on labelled rows, and how sure that is. ``evaluate`` and ``cross_validate`` return one.

    Attributes:
        source: The table's name.
        procedure: A sentence on how the predictions were made.
        rows: Number of rows with a label of any head.
        heads: Head name -> its report.
        joint: The share of rows for which all heads are right; ``None`` with fewer than two heads.
        notes: Sentences for the user.
        made: How the model was made; ``None`` where each fold made its own.

    Examples:
        >>> report = mh.evaluate(trained, table, text="note")
        >>> report.heads["urgency"].rows
        24
        >>> report.metrics["urgency"]["accuracy"] <= 1
        True
    """

    source: str
    procedure: str
    rows: int
    heads: Mapping[str, HeadReport]
    joint: JointAccuracy | None
    notes: tuple[str, ...]
    made: Made | None = None

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Head name -> metric name -> value, on its labelled rows.

        Examples:
            >>> sorted(mh.evaluate(trained, table, text="note").metrics["urgency"])[:2]
            ['accuracy', 'average_precision']
        """
        return {name: head.metrics for name, head in self.heads.items()}

    @property
    def learning_curve(self) -> dict[str, LearningCurve]:
        """Head name -> its learning curve, if ``cross_validate`` was asked for them; else empty.

        Examples:
            >>> mh.evaluate(trained, table, text="note").learning_curve
            {}
        """
        curves = {name: head.learning_curve for name, head in self.heads.items()}
        return {name: curve for name, curve in curves.items() if curve is not None}

    def mistakes(self, head: str, most: int = 50) -> list[Mistake]:
        """Return the rows that a head got wrong, the most confident predictions first.

        Args:
            head: The head's name.
            most: Maximum number of rows.

        Raises:
            UnknownHeadError: the report has no such head.

        Examples:
            >>> report = mh.evaluate(trained, table, text="note")
            >>> all(mistake.truth != mistake.prediction for mistake in report.mistakes("urgency"))
            True
        """
        if head not in self.heads:
            raise UnknownHeadError(
                f"the report has no head {head!r}{did_you_mean(head, self.heads).rstrip('.')}; it has: "
                f"{listed(self.heads)}"
            )
        return self.heads[head].evaluated.mistakes(most)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON; an undefined number is ``None``.

        Examples:
            >>> import json
            >>> report = mh.evaluate(trained, table, text="note")
            >>> len(json.dumps(report.to_dict())) > 0
            True
        """
        return {
            "source": self.source,
            "procedure": self.procedure,
            "rows": self.rows,
            "heads": {name: head.to_dict() for name, head in self.heads.items()},
            "joint": plain_json(self.joint),
            "notes": list(self.notes),
        }

    def to_html(self, path: str | Path, suspects: Iterable[SuspectLabel] = (), overwrite: bool = False) -> None:
        """Write the report as one HTML file, with all pictures inside, that needs no script and no network.

        It contains texts of the evaluated table: the most confident mistakes, and suspect labels.

        Args:
            path: The file; its folder must exist.
            suspects: Labels that are probably wrong, as ``label_issues`` returns them, to be shown with their heads.
            overwrite: Whether to replace the file.

        Raises:
            OutputExistsError: the file exists, or its folder is not writable.
            DataError: its folder does not exist, or it cannot be written.

        Examples:
            >>> report = mh.evaluate(trained, table, text="note")
            >>> report.to_html(folder / "report.html")
        """
        from manyheads.evaluation.page import check_page, html_page, write_page

        check_page(path, overwrite)
        write_page(html_page(self, suspects), path)

    def __str__(self) -> str:
        from manyheads.evaluation.report.terminal import report_view
        from manyheads.evaluation.report.terminal_parts import as_text

        return as_text(report_view(self))

    def __repr__(self) -> str:
        shown = [_in_short(head) for head in self.heads.values()]
        return f"Report({self.source}: {'; '.join(shown)})"


def _in_short(head: HeadReport) -> str:
    return f"{head.name}: {head.main_metric} {head.metrics[head.main_metric]:.3f} of {head.rows} rows"
