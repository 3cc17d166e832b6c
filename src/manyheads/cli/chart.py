"""Charts in a line's width: how much of a head's labels each layer tells, and how a head learned by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.training.fit import LEAVE_ONE_OUT

_WIDTH = 24
_EIGHTHS = " ▏▎▍▌▋▊▉"
_HEIGHTS = "▁▂▃▄▅▆▇█"
# What a record of an epoch holds beside metrics.
_NO_METRICS = frozenset({"epoch", "rows", "loss", "held_out_loss"})


def search_chart(tried: Sequence[Mapping[str, Any]], chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per layer (its best pooling), one for the bag of tokens and one for what the head reads.

    Args:
        tried: The head's trials, as its summary keeps them.
        chosen: The taps that it reads, as plain JSON.
    """
    screened = [trial for trial in tried if trial.get("by") == LEAVE_ONE_OUT]
    singles = [trial for trial in screened if len(trial["reads"]) == 1]
    if not singles:
        return []
    fewest = min(trial["settings"]["rows"] for trial in singles)
    alike = [trial for trial in singles if trial["settings"]["rows"] == fewest]
    layers: dict[Any, Mapping[str, Any]] = {}
    for trial in sorted(alike, key=lambda one: float(one["loss"])):
        layers.setdefault(trial["reads"][0].get("layer", "tokens"), trial)
    numbers = sorted(layer for layer in layers if layer != "tokens")
    ordered = [layers[layer] for layer in [*numbers, *(["tokens"] if "tokens" in layers else [])]]
    rows = [(_name(trial["reads"]), 1 - float(trial["loss"])) for trial in ordered]
    final = [trial for trial in screened if _same(trial["reads"], chosen)]
    if final and len(chosen) > 1:
        rows.append((_name(final[-1]["reads"]), 1 - float(final[-1]["loss"])))
    longest = max(len(name) for name, _ in rows)
    most = max(max(value for _, value in rows), 1e-9)
    return [f"{name:<{longest}} {_bar(value / most)} {value:5.1%}" for name, value in rows]


def learning_curve(history: Sequence[Mapping[str, Any]]) -> str:
    """Return how a head's main metric went, epoch by epoch; nothing where fewer than two were measured.

    Args:
        history: One record per epoch, the main metric before the others.
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


def _name(reads: Sequence[Mapping[str, Any]]) -> str:
    return " + ".join("tokens" if tap["tap"] == "lexical" else f"{tap['layer']} {tap['pool']}" for tap in reads)


def _same(reads: Sequence[Mapping[str, Any]], chosen: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether two sets of taps are one, however many tokens the lexical one turned out to weigh."""
    return {_name([tap]) for tap in reads} == {_name([tap]) for tap in chosen}


def _bar(share: float) -> str:
    eighths = round(max(share, 0.0) * _WIDTH * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).ljust(_WIDTH)[:_WIDTH]
