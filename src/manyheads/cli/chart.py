"""Charts of one line: how well each layer explains the labels, and a head's metric per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.evaluation.searched import explained_by_tap

_WIDTH = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"
_HEIGHTS = "▁▂▃▄▅▆▇█"
# Keys of an epoch's record that are no metrics.
_NO_METRICS = frozenset({"epoch", "rows", "loss", "held_out_loss"})


def search_chart(tried: Sequence[Mapping[str, Any]], chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per layer with its best pooling, one per bag of tokens or words, and one for the taps chosen.

    Args:
        tried: The alternatives in the head's summary.
        chosen: The head's taps, as plain JSON.
    """
    rows = explained_by_tap(tried, chosen)
    if not rows:
        return []
    longest = max(len(name) for name, _ in rows)
    most = max(max(value for _, value in rows), 1e-9)
    return [f"{name:<{longest}} {_bar(value / most)} {value:5.1%}" for name, value in rows]


def learning_curve(history: Sequence[Mapping[str, Any]]) -> str:
    """Return a sparkline of a head's main metric by epoch; an empty string for fewer than two epochs with the metric.

    Args:
        history: One record per epoch, with the main metric first.
    """
    metric = next((name for record in history for name in record if name not in _NO_METRICS), "")
    points = [(record["epoch"], record[metric]) for record in history if record.get(metric) is not None]
    if len(points) < 2:
        return ""
    values = [float(value) for _, value in points]
    low, high = min(values), max(values)
    bars = "".join(_HEIGHTS[round((value - low) / (high - low) * 7) if high > low else 0] for value in values)
    best = points[values.index(high)][0]
    name = metric.replace("_", " ")
    return f"{name} by epoch {bars} from {values[0]:.3f} to {values[-1]:.3f}, best {high:.3f} in epoch {best:g}"


def _bar(share: float) -> str:
    eighths = round(max(share, 0.0) * _WIDTH * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).ljust(_WIDTH)[:_WIDTH]
