"""Learning curves: how a metric grows with the number of training rows, and what twice as many would give.

The points are measured on the same rows, so that they are paired. A power law through them is extrapolated (see
``power_law.py``); its interval is that over resamples of the tested texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.evaluation.kinds import Measures
from manyheads.evaluation.power_law import extrapolated
from manyheads.evaluation.resamples import Interval, Resamples, interval

# The power law has three numbers.
_LEAST_POINTS = 3
_FACTOR = 2


@dataclass(frozen=True)
class CurvePoint:
    """A metric for one number of training rows.

    Attributes:
        rows: Number of labelled training rows, the mean over the folds.
        score: The metric on rows that were not trained on.
        interval: Its 95% interval.
    """

    rows: int
    score: float
    interval: Interval | None


@dataclass(frozen=True)
class LearningCurve:
    """How a head's main metric grows with the number of training rows.

    Attributes:
        metric: Name of the metric.
        points: The measured points, the fewest rows first.
        expected: What twice the rows of the last point would give, extrapolated; ``None`` with fewer than three points.
        gain: 95% interval of the gain that they would bring over the last point; ``None`` without ``expected``.

    Examples:
        >>> report = mh.cross_validate(model, table, text="note", folds=2, learning_curve=True)
        >>> curve = report.learning_curve["urgency"]
        >>> [point.rows for point in curve.points]
        [3, 6, 12]
    """

    metric: str
    points: Sequence[CurvePoint]
    expected: CurvePoint | None
    gain: Interval | None

    @property
    def sentence(self) -> str:
        """Whether more labels would help, in a sentence.

        Examples:
            >>> report = mh.cross_validate(model, table, text="note", folds=2, learning_curve=True)
            >>> report.learning_curve["urgency"].sentence[:26]
            'With 12 training rows, the'
        """
        metric, last = self.metric.replace("_", " "), self.points[-1]
        measured = f"With {last.rows:,} training rows, the {metric} is {last.score:.3f}"
        if self.expected is None or self.gain is None or self.expected.interval is None:
            return f"{measured}; there are too few rows to tell what more would give."
        between = f"between {self.expected.interval.low:.3f} and {self.expected.interval.high:.3f}"
        expected = f"with {self.expected.rows:,}, about {self.expected.score:.3f} ({between}) is expected"
        helps = "more labels would help" if self.gain.low > 0 else "more labels may not help"
        return f"{measured}; {expected}: {helps}."


def learning_curve(measured: Mapping[int, Measures], texts: Sequence[Any]) -> LearningCurve:
    """Return a head's learning curve.

    Args:
        measured: Number of training rows -> measures of the same rows, in the same order.
        texts: The text of each of these rows.
    """
    rows = sorted(measured)
    last = measured[rows[-1]]
    metric = last.rows.spec.main_metric
    resamples = Resamples(texts)
    draws = np.stack([resamples.metrics(measured[count])[metric] for count in rows], axis=1)
    scores = np.array([measured[count].metrics[metric] for count in rows])
    points = [
        CurvePoint(count, float(score), interval(draws[:, place]))
        for place, (count, score) in enumerate(zip(rows, scores, strict=True))
    ]
    if len(rows) < _LEAST_POINTS or not np.isfinite(scores).all():
        return LearningCurve(metric, points, None, None)
    # The best value of every main metric is 1.
    wanted, counts = _FACTOR * rows[-1], np.array(rows, dtype=np.float64)
    known = draws[np.isfinite(draws).all(axis=1)]
    of_draws = 1 - extrapolated(counts, 1 - known, wanted)
    score = 1 - extrapolated(counts, 1 - scores[None], wanted)[0]
    expected = CurvePoint(wanted, float(score), interval(of_draws))
    return LearningCurve(metric, points, expected, interval(of_draws - known[:, -1]))
