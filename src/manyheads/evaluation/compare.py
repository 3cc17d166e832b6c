"""Compare models on the same rows: which differences are real.

Both models' metrics are computed on the same 1,000 resamples of the texts (the paired bootstrap; Koehn 2004). What is
hard for both then cancels out, so that small differences show on few rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from manyheads.errors import DataError, InputError, listed
from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.metric_facts import is_better
from manyheads.evaluation.report import Report
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
    if len(reports) != 2:
        raise InputError(f"compare: takes two reports, got {len(reports)}; compare them in pairs")
    named = reports if isinstance(reports, Mapping) else dict(zip(("first", "second"), reports, strict=True))
    predicted = {name: {head: one.evaluated for head, one in report.heads.items()} for name, report in named.items()}
    return compare_predictions(predicted, next(iter(named.values())).source)


def compare_predictions(predicted: Mapping[str, Mapping[str, EvaluatedRows]], source: str) -> Comparison:
    """Compare the predictions of two models; raises what ``compare`` raises.

    Args:
        predicted: Name -> head name -> predictions, of two models.
        source: The table's name.
    """
    (first_name, first), (second_name, second) = predicted.items()
    common = [name for name in first if name in second]
    if not common:
        raise InputError(
            f"compare: {first_name} has the heads {listed(first)} and {second_name} {listed(second)}; evaluate a head "
            "that both have"
        )
    differences = [one for name in common for one in _differences(name, first[name], second[name])]
    left_out = tuple(name for name in {**first, **second} if name not in common)
    return Comparison((first_name, second_name), source, tuple(differences), left_out)


def _differences(head: str, first: EvaluatedRows, second: EvaluatedRows) -> list[Difference]:
    """Return the differences of one head, that of the main metric first."""
    _check_rows(head, first, second)
    resamples = Resamples([first.texts[row] for row in first.labelled.tolist()])
    draws = [resamples.metrics(one.measures) for one in (first, second)]
    values = [one.measures.metrics for one in (first, second)]
    main, found = first.spec.main_metric, []
    for name in sorted(draws[0], key=lambda name: name != main):
        one, other = values[0][name], values[1][name]
        ends = interval(draws[1][name] - draws[0][name])
        better = _better(name, ends)
        found.append(Difference(head, name, name == main, len(first.scored), one, other, other - one, ends, better))
    return found


def _better(metric: str, ends: Interval | None) -> str | None:
    """Return which of two models is better, ``None`` if the interval of their difference contains 0."""
    if ends is None or 0.0 in ends:
        return None
    return "second" if is_better(metric, ends.low) else "first"


def _check_rows(head: str, first: EvaluatedRows, second: EvaluatedRows) -> None:
    """Check that two models predicted the same rows, with the same labels.

    Raises:
        DataError: they did not, with the first row that differs.
    """
    same = "evaluate both models on the same table"
    if first.measures.__class__ is not second.measures.__class__:
        kinds = f"{first.spec.kind} in one report and {second.spec.kind} in the other"
        raise DataError(f"Head {head!r}: is {kinds}; compare heads of one kind")
    counts = [len(one.scored) for one in (first, second)]
    if counts[0] != counts[1]:
        raise DataError(f"Head {head!r}: {counts[0]} labelled rows in one report, {counts[1]} in the other; {same}")
    for place, (mine, theirs) in enumerate(zip(_truths(first), _truths(second), strict=True)):
        if mine != theirs:
            raise DataError(
                f"Head {head!r}: labelled row {place + 1} is {mine!r:.80} in one report, {theirs!r:.80} in the other; "
                f"{same}"
            )


def _truths(rows: EvaluatedRows) -> list[tuple[Any, Any]]:
    """Return the text and the label, or labels, of each labelled row."""
    return [(rows.texts[row], rows.measures.described(at)[0]) for at, row in enumerate(rows.labelled.tolist())]
