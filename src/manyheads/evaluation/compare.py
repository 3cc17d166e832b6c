"""Compare models on the same rows: which differences are real.

Both models' metrics are computed on the same 1,000 resamples of the texts (the paired bootstrap; Koehn 2004). What is
hard for both then cancels out, so that small differences show on few rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.errors import DataError, InputError, listed
from manyheads.evaluation.metric_facts import is_better
from manyheads.evaluation.report import HeadReport, Report
from manyheads.evaluation.report.plain import plain_json
from manyheads.evaluation.resamples import Interval, Resamples, interval


@dataclass(frozen=True)
class Difference:
    """One metric of one head in two reports.

    Attributes:
        head: The head's name.
        metric: The metric's name.
        main: Whether it is the head's main metric.
        rows: Number of labelled rows.
        first: Its value in the first report.
        second: Its value in the other.
        difference: ``second - first``.
        interval: 95% interval of the difference; ``None`` where it is undefined.
        better: ``"first"`` or ``"second"``, or ``None`` if the interval contains 0, so that the difference may be
            chance.
    """

    head: str
    metric: str
    main: bool
    rows: int
    first: float
    second: float
    difference: float
    interval: Interval | None
    better: str | None


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two reports on the same rows.

    Attributes:
        names: Names of the two.
        source: The table's name.
        differences: Per head each metric that sums over rows give, the main one first.
        left_out: Heads that only one of the reports has.

    Examples:
        >>> report = mh.evaluate(trained, table, text="note")
        >>> comparison = mh.compare({"before": report, "after": report})
        >>> comparison.real
        []
    """

    names: tuple[str, str]
    source: str
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...]

    @property
    def real(self) -> list[Difference]:
        """The differences whose interval does not contain 0. Of 20 metrics that do not differ, one is expected here.

        Examples:
            >>> report = mh.evaluate(trained, table, text="note")
            >>> len(mh.compare([report, report]).real)
            0
        """
        return [one for one in self.differences if one.better is not None]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain JSON; an undefined number is ``None``.

        Examples:
            >>> report = mh.evaluate(trained, table, text="note")
            >>> mh.compare([report, report]).to_dict()["names"]
            ['first', 'second']
        """
        found: dict[str, Any] = plain_json(self)
        return found

    def __str__(self) -> str:
        from manyheads.evaluation.report.terminal_comparison import comparison_view
        from manyheads.evaluation.report.terminal_parts import as_text

        return as_text(comparison_view(self))

    def __repr__(self) -> str:
        return f"Comparison({listed(self.names)}: {len(self.real)} of {len(self.differences)} differences are real)"


def compare(reports: Mapping[str, Report] | Sequence[Report]) -> Comparison:
    """Compare two reports on the same rows, per head and metric, by the paired bootstrap over texts.

    Args:
        reports: Two reports by name, or in a list, of the same table: two models, or one before and after training.

    Raises:
        InputError: another number of reports, or no head in common.
        DataError: the reports have different rows or labels.

    Examples:
        >>> first = mh.evaluate(trained, table, text="note")
        >>> comparison = mh.compare({"run1": first, "run2": mh.evaluate(trained, table, text="note")})
        >>> comparison.differences[0].metric, comparison.differences[0].better
        ('accuracy', None)
    """
    named = dict(reports) if isinstance(reports, Mapping) else dict(zip(("first", "second"), reports, strict=False))
    if len(reports) != 2:
        raise InputError(f"compare: takes two reports, got {len(reports)}; compare them in pairs")
    (first_name, first), (second_name, second) = named.items()
    common = [name for name in first.heads if name in second.heads]
    if not common:
        raise InputError(
            f"compare: {first_name} has the heads {listed(first.heads)} and {second_name} {listed(second.heads)}; "
            "evaluate a head that both have"
        )
    differences = [one for name in common for one in _differences(first.heads[name], second.heads[name])]
    left_out = tuple(name for name in {**first.heads, **second.heads} if name not in common)
    return Comparison((first_name, second_name), first.source, tuple(differences), left_out)


def _differences(first: HeadReport, second: HeadReport) -> list[Difference]:
    """Return the differences of one head, that of the main metric first."""
    _check_rows(first, second)
    rows = first.evaluated
    resamples = Resamples([rows.texts[row] for row in rows.labelled.tolist()])
    draws = [resamples.metrics(one.evaluated.measures) for one in (first, second)]
    names = sorted(draws[0], key=lambda name: name != first.main_metric)
    return [_difference(first, second, name, draws[1][name] - draws[0][name]) for name in names if name in draws[1]]


def _difference(first: HeadReport, second: HeadReport, name: str, draws: np.ndarray) -> Difference:
    one, other, ends = first.metrics[name], second.metrics[name], interval(draws)
    better = None
    if ends is not None and 0.0 not in ends:
        better = "second" if is_better(name, ends.low) else "first"
    main = name == first.main_metric
    return Difference(first.name, name, main, first.rows, one, other, other - one, ends, better)


def _truths(head: HeadReport) -> list[tuple[Any, Any]]:
    """Return the text and the label, or labels, of each labelled row."""
    rows = head.evaluated
    return [(rows.texts[row], rows.measures.described(at)[0]) for at, row in enumerate(rows.labelled.tolist())]


def _check_rows(first: HeadReport, second: HeadReport) -> None:
    """Check that two reports have the same rows and labels of a head.

    Raises:
        DataError: they do not, with the first row that differs.
    """
    if first.kind != second.kind:
        raise DataError(f"Head {first.name!r}: is {first.kind} in one report and {second.kind} in the other")
    if first.rows != second.rows:
        raise DataError(
            f"Head {first.name!r}: one report has {first.rows} labelled rows and the other {second.rows}; evaluate "
            "both models on the same table"
        )
    for place, (mine, theirs) in enumerate(zip(*map(_truths, (first, second)), strict=True)):
        if mine != theirs:
            raise DataError(
                f"Head {first.name!r}: labelled row {place + 1} is {mine!r:.80} in one report and {theirs!r:.80} in "
                "the other; evaluate both models on the same table"
            )
