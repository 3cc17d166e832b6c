"""The threshold of prediction sets, by split conformal prediction (Angelopoulos and Bates 2021, section 1)."""

from __future__ import annotations

import math

import numpy as np

from manyheads.deciding.promises.abstention import ROUNDING, check_rows


def set_threshold(conformity: np.ndarray, coverage: float, owner: str) -> float:
    """Return the threshold with which sets contain the right label of at least a share of new texts, on average.

    It is the k-th smallest conformity score of the n right labels, see ``quantile_place``.

    Args:
        conformity: Conformity score of each row's right label (rows,).
        coverage: The share.
        owner: The table and the head, for messages.

    Raises:
        DataError: too few rows.
    """
    rows = len(conformity)
    check_rows(rows, math.ceil(coverage / (1 - coverage) - ROUNDING), f"set_coverage={coverage:g}", owner)
    return float(np.sort(conformity)[quantile_place(rows, coverage) - 1])


def quantile_place(rows: int, coverage: float) -> int:
    """Return ``k = ceil((n + 1) coverage)``: of n + 1 exchangeable numbers, one is at most the k-th smallest of the
    others with at least this probability."""
    return math.ceil((rows + 1) * coverage - ROUNDING)
