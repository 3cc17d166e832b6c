"""One sentence on what a head is worth beside its baselines."""

from __future__ import annotations

from collections.abc import Sequence

from manyheads.evaluation.baselines import Baseline

_NAMES = {
    "majority": "a constant answer",
    "tfidf": "TF-IDF with a linear model",
    "words": "the most frequent label of each word",
}


def verdict(head: str, value: float, baselines: Sequence[Baseline]) -> str:
    """Return the sentence.

    Args:
        head: The head's name.
        value: Its main metric.
        baselines: The constant answer first.
    """
    metric = baselines[0].metric.replace("_", " ")
    unbeaten = [one for one in baselines if not one.beaten]
    shown = "; ".join(f"{_NAMES[one.name]} {one.metrics[one.metric]:.3f} ({_gain(one)})" for one in baselines)
    numbers = f"{metric} {value:.3f}; {shown}."
    if not unbeaten:
        return f"Head {head!r} is better than {_joined(baselines)}: {numbers}"
    if any(one.name == "majority" for one in unbeaten):
        return f"Head {head!r} is not shown to be better than a constant answer, so it may be useless: {numbers}"
    return f"Head {head!r} is better than a constant answer, but not shown to beat {_joined(unbeaten)}: {numbers}"


def _joined(baselines: Sequence[Baseline]) -> str:
    return " and ".join(_NAMES[one.name] for one in baselines)


def _gain(one: Baseline) -> str:
    """Return the head's gain over a baseline, and how many rows the baseline learnt from: often fewer than the head."""
    fitted = "" if one.name == "majority" else f"fitted on {one.rows:,} rows; "
    if one.interval is None:
        return f"{fitted}gain of unknown certainty"
    return f"{fitted}gain {one.gain:+.3f}, 95% interval {one.interval.low:+.3f} to {one.interval.high:+.3f}"
