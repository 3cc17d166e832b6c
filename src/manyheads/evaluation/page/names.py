"""Short names of baselines, and what a head is worth beside them in a few words."""

from __future__ import annotations

from dataclasses import dataclass

from manyheads.evaluation.report.report import HeadReport

BASELINES = {"majority": "constant answer", "tfidf": "TF-IDF", "words": "label of each word"}


@dataclass(frozen=True)
class Standing:
    """What a head is worth beside its baselines.

    Attributes:
        style: Its class in ``style.css``.
        sign: A sign, so that color is not needed.
        words: A few words.
    """

    style: str
    sign: str
    words: str


def standing(head: HeadReport) -> Standing:
    """Return what a head is worth beside its baselines."""
    unbeaten = [one.name for one in head.baselines if not one.beaten]
    if not unbeaten:
        return Standing("good", "✓", "beats its baselines")
    if "majority" in unbeaten:
        return Standing("bad", "!", "not shown to beat a constant answer")
    return Standing("open", "?", f"not shown to beat {BASELINES[unbeaten[0]]}")
