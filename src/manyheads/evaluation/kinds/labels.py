"""Metrics of labels from counts: precision, recall and F1, and the order of scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from manyheads.evaluation.kinds.base import LabelMetrics
from manyheads.evaluation.kinds.label_scores import LabelScores
from manyheads.evaluation.row_sums import Sums, ratio


def f1_scores(sums: Sums) -> np.ndarray:
    """Return ``2 right / (true + predicted)`` (draws, labels), 0 where undefined."""
    return ratio(2 * sums["hit"], sums["true"] + sums["predicted"])


def mean_over(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return the mean of the labels that are counted (draws,), NaN if none is."""
    return ratio((values * counted).sum(axis=1), counted.sum(axis=1), np.nan)


def one_label_metrics(sums: Sums) -> dict[str, np.ndarray]:
    """Return the metrics of heads with exactly one label per row, or word, from counts (draws, labels).

    Labels that neither occur nor are predicted are left out of averages, as in scikit-learn.
    """
    true, predicted, hit = sums["true"], sums["predicted"], sums["hit"]
    count = true.sum(axis=1)
    f1 = f1_scores(sums)
    return {
        "accuracy": ratio(hit.sum(axis=1), count, np.nan),
        "balanced_accuracy": mean_over(ratio(hit, true), true > 0),
        "macro_f1": mean_over(f1, true + predicted > 0),
        "weighted_f1": ratio((f1 * true).sum(axis=1), count, np.nan),
    }


def label_metrics(sums: Sums, labels: Sequence[object], scores: Sequence[LabelScores]) -> list[LabelMetrics]:
    """Return the metrics of each label from its counts (1, labels) and, if there are any, its scores."""
    counts = zip(*(sums[name][0].tolist() for name in ("true", "predicted", "hit")), strict=True)
    ranks = [(one.roc_auc, one.average_precision, one.threshold) for one in scores] or [(None,) * 3] * len(labels)
    return [
        LabelMetrics(
            label,
            round(true),
            round(predicted),
            hit / predicted if predicted else 0.0,
            hit / true if true else 0.0,
            2 * hit / (true + predicted) if true + predicted else 0.0,
            *rank,
        )
        for label, (true, predicted, hit), rank in zip(labels, counts, ranks, strict=True)
    ]


def rank_metrics(scores: Sequence[LabelScores]) -> dict[str, float]:
    """Return the means over labels of ROC AUC (one label against all others) and of average precision; labels for which
    one is undefined are left out, and NaN if all are.
    """
    return {
        "roc_auc": _mean([one.roc_auc for one in scores]),
        "average_precision": _mean([one.average_precision for one in scores]),
    }


def _mean(values: Sequence[float | None]) -> float:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else float("nan")
