"""Charts of one line: how well each layer explains the labels, and a head's metric per epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from manyheads.training.fit import LEAVE_ONE_OUT

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
    screened = [alternative for alternative in tried if alternative.get("by") == LEAVE_ONE_OUT]
    singles = [alternative for alternative in screened if len(alternative["reads"]) == 1]
    if not singles:
        return []
    fewest = min(alternative["settings"]["rows"] for alternative in singles)
    alike = [alternative for alternative in singles if alternative["settings"]["rows"] == fewest]
    layers: dict[int, Mapping[str, Any]] = {}
    bags: dict[str, Mapping[str, Any]] = {}
    for alternative in sorted(alike, key=lambda one: float(one["loss"])):
        tap = alternative["reads"][0]
        if "layer" in tap:
            layers.setdefault(tap["layer"], alternative)
        else:
            bags.setdefault(_tap_name(tap), alternative)
    ordered = [*(layers[layer] for layer in sorted(layers)), *(bags[name] for name in sorted(bags))]
    rows = [(_name(alternative["reads"]), 1 - float(alternative["loss"])) for alternative in ordered]
    final = [alternative for alternative in screened if _same(alternative["reads"], chosen)]
    if final and len(chosen) > 1:
        rows.append((_name(final[-1]["reads"]), 1 - float(final[-1]["loss"])))
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


def _name(reads: Sequence[Mapping[str, Any]]) -> str:
    return " + ".join(_tap_name(tap) for tap in reads)


def _tap_name(tap: Mapping[str, Any]) -> str:
    if "reads" in tap:  # a tap around another one
        return _tap_name(tap["reads"])
    if tap["tap"] == "lexical":
        return _bag_name(tap)
    window = f" ±{tap['window']}" if tap.get("window") else ""
    return f"{tap['layer']} {tap['pool'] if 'pool' in tap else tap['subword']}{window}"


def _bag_name(tap: Mapping[str, Any]) -> str:
    if tap["first"]:
        return "first word" if tap["first"] == 1 else f"first {tap['first']} words"
    return f"{tap['unit']}s" + (" and pairs" if tap["ngrams"][1] == 2 else "")


def _same(reads: Sequence[Mapping[str, Any]], chosen: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether two sets of taps are equal, apart from the number of terms of a lexical tap."""
    return {_name([tap]) for tap in reads} == {_name([tap]) for tap in chosen}


def _bar(share: float) -> str:
    eighths = round(max(share, 0.0) * _WIDTH * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).ljust(_WIDTH)[:_WIDTH]
