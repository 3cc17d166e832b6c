"""Parts of the evaluated rows: where a head is worst.

Slices are the values of columns that the caller names, and by themselves the length of the text, and whether it was
truncated, split or empty. Slices with fewer than ``LEAST_ROWS`` labelled rows are left out: their numbers would be
chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.evaluation.kinds import Measures
from manyheads.evaluation.metric_facts import METRICS
from manyheads.evaluation.resamples import Interval, Resamples, interval
from manyheads.runtime.nulls import is_null

LEAST_ROWS = 20
# Numbers with more different values are cut into quarters of equally many rows.
_MOST_NUMBERS = 10
_QUARTERS = 4


@dataclass(frozen=True)
class Slice:
    """A head's metrics on a part of the rows.

    Attributes:
        column: The column, or ``"text length"``, ``"truncated"``, ``"split"`` or ``"empty"``.
        value: Its value in these rows, or a range of numbers as text.
        rows: Number of labelled rows.
        metric: Name of the metric by which slices are sorted, the worst first.
        score: Its value.
        interval: Its 95% interval.
        metrics: All metrics that can be computed of a part.
    """

    column: str
    value: object
    rows: int
    metric: str
    score: float
    interval: Interval | None
    metrics: dict[str, float]


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows with something in common.

    Attributes:
        column: What they have in common.
        value: Its value.
        rows: Their numbers.
    """

    column: str
    value: object
    rows: np.ndarray


def parts_of(
    texts: Sequence[Any], flags: Mapping[str, np.ndarray], columns: Mapping[str, Sequence[object]]
) -> list[Part]:
    """Return all parts of the rows.

    Args:
        texts: One text, or pair of texts, per row.
        flags: What texts may be, such as ``"truncated"`` -> (rows,) booleans.
        columns: Column name -> its cells.
    """
    lengths = [len(text) if isinstance(text, str) else sum(map(len, text)) for text in texts]
    found = [*_ranges("text length", np.array(lengths, dtype=np.float64), " characters")]
    empty = np.array([length == 0 for length in lengths])
    for name, flag in {**flags, "empty": empty}.items():
        if flag.any() and not flag.all():
            found += [Part(name, value, np.flatnonzero(flag == value)) for value in (True, False)]
    for name, cells in columns.items():
        found += _parts_of_column(name, cells)
    return found


def slices_of(
    measures: Measures, texts: Sequence[Any], labelled: np.ndarray, parts: Iterable[Part]
) -> tuple[tuple[Slice, ...], int]:
    """Return a head's slices, the worst first, and the number of parts with too few rows.

    Args:
        measures: Those of the head.
        texts: The texts of all rows.
        labelled: The numbers of the labelled rows, those that are measured.
        parts: All parts.
    """
    place = np.full(len(texts), -1)
    place[labelled] = np.arange(len(labelled))
    found, small = [], 0
    for part in parts:
        own = place[part.rows]
        own = own[own >= 0]
        if len(own) >= LEAST_ROWS:
            found.append(_slice(measures, [texts[row] for row in labelled[own].tolist()], own, part))
        elif len(own):
            small += 1
    sign = 1 if METRICS[measures.slice_metric].larger_is_better else -1
    return tuple(sorted(found, key=lambda one: (np.isnan(one.score), sign * one.score))), small


def _slice(measures: Measures, texts: Sequence[Any], rows: np.ndarray, part: Part) -> Slice:
    sums, name = measures.sums.rows(rows), measures.slice_metric
    metrics = {key: float(value[0]) for key, value in measures.from_sums(sums.total()).items()}
    draws = measures.from_sums(Resamples(texts).sums(sums))[name]
    return Slice(part.column, part.value, len(rows), name, metrics[name], interval(draws), metrics)


def _parts_of_column(name: str, cells: Sequence[object]) -> Iterator[Part]:
    """Yield the rows with each value of a column, or with numbers in each range."""
    present = [not is_null(cell) and cell != "" for cell in cells]
    rows = np.flatnonzero(present)
    values = [cells[row] for row in rows.tolist()]
    if all(map(_is_number, values)) and len(set(values)) > _MOST_NUMBERS:
        for part in _ranges(name, np.array(values, dtype=np.float64), ""):
            yield Part(name, part.value, rows[part.rows])
    else:
        for value, own in _grouped(values).items():
            yield Part(name, value, rows[own])
    if len(rows) < len(cells) and len(rows):
        yield Part(name, None, np.flatnonzero(~np.array(present)))


def _grouped(values: Sequence[object]) -> dict[object, list[int]]:
    """Return the places of each value; lists and other values that cannot be keys count by their text."""
    found: dict[object, list[int]] = {}
    for place, value in enumerate(values):
        found.setdefault(value if isinstance(value, str | int | float | bool) else str(value), []).append(place)
    return found


def _ranges(name: str, values: np.ndarray, unit: str) -> Iterator[Part]:
    """Yield the rows in each quarter of the numbers; none if all are equal."""
    if len(values) == 0 or values.min() == values.max():
        return
    ends = np.unique(np.quantile(values, np.arange(1, _QUARTERS + 1) / _QUARTERS, method="higher"))
    quarter = np.searchsorted(ends, values)
    for place in range(len(ends)):
        rows = np.flatnonzero(quarter == place)
        low, high = values[rows].min(), values[rows].max()
        yield Part(name, f"{low:g}{unit}" if low == high else f"{low:g} to {high:g}{unit}", rows)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
