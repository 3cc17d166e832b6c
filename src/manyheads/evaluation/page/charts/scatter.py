"""Predicted numbers beside true ones."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from manyheads.evaluation.page.charts.kit.axes import axes, dot, path
from manyheads.evaluation.page.charts.kit.scale import rounded_range

MOST_POINTS = 600


def scatter(true: np.ndarray, predicted: np.ndarray) -> Markup:
    """Return a dot per row, on the diagonal where the prediction is right; of many rows, evenly chosen ones.

    Args:
        true: (rows,) numbers.
        predicted: (rows,) numbers.
    """
    kept = np.unique(np.linspace(0, len(true) - 1, MOST_POINTS).round().astype(np.int64))
    points = list(zip(true[kept].tolist(), predicted[kept].tolist(), strict=True))
    across, up = rounded_range(true[kept].tolist()), rounded_range(predicted[kept].tolist())
    ends = min(across[0], up[0]), max(across[1], up[1])
    shown = axes(ends, ends, "true number", "predicted number")
    return shown.picture(
        "Predicted and true numbers",
        f"{len(points)} rows. True numbers from {true.min():.4g} to {true.max():.4g}, predicted ones from "
        f"{predicted.min():.4g} to {predicted.max():.4g}.",
        path([shown.place((ends[0], ends[0])), shown.place((ends[1], ends[1]))], "reference"),
        *(dot(shown.place(point), "point", 2.5) for point in points),
    )
