"""Prediction sets: the labels whose conformity score is at most a threshold (split conformal prediction).

With the probabilities p of one text, the conformity score of label y is ::

    0                                                  for the predicted label, else
    lac    1 - p_y                                     (Sadinle, Lei and Wasserman 2019)
    aps    sum of p_j over the labels j up to y, from the most to the least probable
                                                       (Romano, Sesia and Candes 2020, without randomization)

So the predicted label always is in the set, and no set is empty. As the threshold is fitted to these scores, sets cover
as many texts as asked, unless the predicted label alone covers more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def conformity_scores(scores: np.ndarray, predicted: np.ndarray, by: str) -> np.ndarray:
    """Return the conformity score of each label, fp64 (rows, labels), from 0 (fits best) to 1.

    Args:
        scores: Probabilities (rows, labels).
        predicted: Position of each row's predicted label (rows,).
        by: ``"lac"`` or ``"aps"``.
    """
    found: np.ndarray = np.clip(SET_SCORES[by](scores.astype(np.float64)), 0.0, 1.0)
    found[np.arange(len(found)), predicted] = 0.0
    return found


def _lac(probabilities: np.ndarray) -> np.ndarray:
    complement: np.ndarray = 1.0 - probabilities
    return complement


def _aps(probabilities: np.ndarray) -> np.ndarray:
    order = np.argsort(-probabilities, axis=1, kind="stable")
    sums = np.take_along_axis(probabilities, order, axis=1).cumsum(axis=1)
    by_label = np.empty_like(sums)
    np.put_along_axis(by_label, order, sums, axis=1)
    return by_label


# The names that `Decision(set_by=...)` takes.
SET_SCORES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"lac": _lac, "aps": _aps}
