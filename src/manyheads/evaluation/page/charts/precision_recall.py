"""Precision-recall curve of one label, with the stored threshold."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from sklearn import metrics as sk

from manyheads.evaluation.kinds import LabelScores
from manyheads.evaluation.page.charts.kit.axes import axes, dot, path
from manyheads.evaluation.page.charts.kit.text_width import fitted
from manyheads.evaluation.page.clean import label_text

_SIZE = (300.0, 220.0)
_MOST_POINTS = 120


def precision_recall_curve(one: LabelScores) -> Markup:
    """Return the curve of a label that at least one row has, with a dot at its threshold."""
    # The last point is that of no prediction at all.
    precision, recall = (part[:-1] for part in sk.precision_recall_curve(one.true, one.order)[:2])
    kept = np.unique(np.linspace(0, len(recall) - 1, _MOST_POINTS).round().astype(np.int64))
    shown = axes((0, 1), (0, 1), "recall", fitted(f"precision, {label_text(one.label)}", _SIZE[0]), _SIZE)
    points = [shown.place(point) for point in zip(recall[kept].tolist(), precision[kept].tolist(), strict=True)]
    at = None if one.threshold is None else _at(one, one.threshold)
    said = "" if at is None else f" At its threshold {one.threshold:.2f}, precision {at[1]:.3f} and recall {at[0]:.3f}."
    return shown.picture(
        f"Precision and recall of {label_text(one.label, 60)}",
        f"{int(one.true.sum())} of {len(one.true)} rows have the label.{said}",
        path(points, "curve"),
        *([] if at is None else [dot(shown.place(at), "chosen", 5.5)]),
    )


def _at(one: LabelScores, threshold: float) -> tuple[float, float]:
    """Return recall and precision of the rows from the threshold on; without any, the precision is 1 (scikit-learn)."""
    chosen = one.scores >= threshold
    right = float((chosen & one.true).sum())
    return right / float(one.true.sum()), right / float(chosen.sum()) if chosen.any() else 1.0
