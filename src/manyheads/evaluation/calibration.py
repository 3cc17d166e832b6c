"""Whether probabilities mean what they say: the calibration error, beside what chance alone makes of it.

The statements are sorted by probability and cut into ``BINS`` bins of equally many. With n statements in all, and in
bin b their number n_b, their mean probability p_b and the share that came true t_b, the expected calibration error is
(Naeini et al. 2015, with bins of equal counts)::

    ECE = sum over b of n_b / n * |t_b - p_b|

It is above 0 for perfect probabilities too, since t_b is a share of few. So it stands beside its noise floor: outcomes
are drawn from the probabilities themselves ``DRAWS`` times, which is a perfectly calibrated head on these rows, and the
error of each draw is computed alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from manyheads.evaluation.kinds import Statements

BINS = 15
DRAWS = 1000
# Numbers drawn at once.
_ROOM = 4_000_000
# With more statements, fewer draws are enough for a floor that is near 0, and would take long.
_MANY = 200_000


@dataclass(frozen=True)
class CalibrationBin:
    """The statements of one bin.

    Attributes:
        low: Its smallest probability.
        high: Its largest probability.
        count: Number of statements.
        stated: Their mean probability.
        true: The share that came true.
        band: 95% band of that share, if the probabilities are right.
    """

    low: float
    high: float
    count: int
    stated: float
    true: float
    band: tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from what came true.

    Attributes:
        unit: What the probabilities are of, such as ``"predicted labels"``.
        count: Number of statements.
        error: The expected calibration error.
        floor: What a perfectly calibrated head would show on these rows, on average.
        floor_high: What it would exceed in 5% of all draws.
        stated: Mean probability.
        true: Share that came true.
        bins: The bins, from low to high.
    """

    unit: str
    count: int
    error: float
    floor: float
    floor_high: float
    stated: float
    true: float
    bins: tuple[CalibrationBin, ...]

    @property
    def within_noise(self) -> bool:
        """Whether the error is one that a perfectly calibrated head would show too."""
        return self.error <= self.floor_high + 1e-9


def calibration(statements: Statements, seed: int = 0) -> Calibration:
    """Return how far probabilities are from what came true.

    Args:
        statements: At least one.
        seed: Seed of the noise floor.
    """
    order = np.argsort(statements.probabilities, kind="stable")
    stated, true = statements.probabilities[order], statements.true[order]
    count = len(stated)
    starts = np.unique(np.arange(BINS) * count // BINS)
    sizes = np.diff([*starts, count])
    means = np.add.reduceat(stated, starts) / sizes
    shares = np.add.reduceat(true.astype(np.float64), starts) / sizes
    drawn = _drawn_shares(stated, starts, sizes, seed)
    weights = sizes / count
    floors = np.abs(drawn - means) @ weights
    bands = np.quantile(drawn, [0.025, 0.975], axis=0)
    ends = starts + sizes - 1
    columns = (stated[starts], stated[ends], sizes, means, shares, *bands)
    return Calibration(
        unit=statements.unit,
        count=count,
        error=float(np.abs(shares - means) @ weights),
        floor=float(floors.mean()),
        floor_high=float(np.quantile(floors, 0.95)),
        stated=float(stated.mean()),
        true=float(true.mean()),
        bins=tuple(
            CalibrationBin(low, high, size, mean, share, (band_low, band_high))
            for low, high, size, mean, share, band_low, band_high in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ),
    )


def _drawn_shares(stated: np.ndarray, starts: np.ndarray, sizes: np.ndarray, seed: int) -> np.ndarray:
    """Return the shares (draws, bins) that come true when outcomes are drawn from the probabilities."""
    random, count = np.random.default_rng(seed), len(stated)
    draws = DRAWS if count <= _MANY else DRAWS // 5
    chunk = max(1, min(draws, _ROOM // count))
    likely = stated.astype(np.float32)
    parts = []
    for start in range(0, draws, chunk):
        came_true = random.random((min(chunk, draws - start), count), dtype=np.float32) < likely
        parts.append(np.add.reduceat(came_true, starts, axis=1, dtype=np.float64) / sizes)
    return np.concatenate(parts)
