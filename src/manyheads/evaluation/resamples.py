"""95% intervals by the bootstrap over texts.

A resample draws as many texts as there are, with replacement (Efron 1979); rows with equal texts are drawn together,
since they are not independent. The interval is from the 2.5th to the 97.5th percentile of a metric over the resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.split import text_groups
from manyheads.evaluation.kinds import Measures
from manyheads.evaluation.row_sums import RowSums, Sums

DRAWS = 1000
LEVEL = 0.95
# Draws whose weights are in memory together.
_CHUNK = 100


@dataclass(frozen=True)
class Interval:
    """A 95% interval.

    Attributes:
        low: Its lower end.
        high: Its upper end.
    """

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Resamples:
    """Resamples of texts; the same texts and seed give the same ones, so that differences are paired.

    Args:
        texts: The text or pair of texts of each row.
        draws: Number of resamples.
        seed: Seed of the draws.
    """

    def __init__(self, texts: Sequence[Any], draws: int = DRAWS, seed: int = 0) -> None:
        self._groups, sizes = text_groups(texts)
        self.count, self._draws, self._seed = len(sizes), draws, seed

    def sums(self, of_rows: RowSums) -> Sums:
        """Return the sums of each resample, (draws, width) by name."""
        by_text = of_rows.grouped(self._groups)
        parts = [by_text.weighted(weights) for weights in self._weights()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of a number per row (rows,) in each resample, (draws,); texts with several rows make the
        number of rows vary.
        """
        sums = self.sums(RowSums({"values": values, "rows": np.ones(len(values))}))
        means: np.ndarray = sums["values"][:, 0] / sums["rows"][:, 0]
        return means

    def metrics(self, measures: Measures) -> dict[str, np.ndarray]:
        """Return metrics (draws,) of each resample by name."""
        return measures.from_sums(self.sums(measures.sums))

    def _weights(self) -> Iterator[np.ndarray]:
        """Yield how often each text is drawn, (some draws, texts)."""
        random = np.random.default_rng(self._seed)
        for start in range(0, self._draws, _CHUNK):
            drawn = random.integers(0, self.count, size=(min(_CHUNK, self._draws - start), self.count))
            yield np.stack([np.bincount(row, minlength=self.count) for row in drawn]).astype(np.float64)


def interval(draws: np.ndarray) -> Interval | None:
    """Return the 95% interval of a metric's resamples (draws,); ``None`` where it is undefined in more than half."""
    defined = draws[~np.isnan(draws)]
    if 2 * len(defined) < len(draws):
        return None
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Interval(low, high)


def intervals(draws: dict[str, np.ndarray]) -> dict[str, Interval]:
    """Return the intervals of the metrics that have one."""
    found = {name: interval(values) for name, values in draws.items()}
    return {name: one for name, one in found.items() if one is not None and math.isfinite(one.low)}
