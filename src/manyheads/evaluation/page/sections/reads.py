"""What a head reads, and how well each layer explains its labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manyheads.evaluation.page.blocks import Pictures, Section, Sentences
from manyheads.evaluation.page.charts.bars import bars
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.searched import explained_by_tap, tap_name

_LEGEND = (
    "Share of the labels' variance (of their entropy, for classes) that each layer explains with its best pooling, and "
    "the words of the text: 1 - error of ridge regression that predicts each training row from all others. Layer -1 is "
    "the last."
)


def reads_section(subject: Subject) -> Section | None:
    """Return the taps, and the chart of the search if there was one."""
    if subject.made is None:
        return None
    sentence = f"It reads {', '.join(map(_in_words, subject.made.reads))}."
    rows = explained_by_tap(subject.made.summary.get("tried", []), subject.made.reads)
    named = [("all that it reads" if " + " in name else name, share) for name, share in rows]
    block = (
        Pictures([bars("Labels explained by each layer", named)], _LEGEND, [sentence])
        if any(share > 0 for _, share in rows)
        else None
    )
    return Section("What it reads", "", [block or Sentences([sentence])])


def _in_words(tap: Mapping[str, Any]) -> str:
    inner = tap.get("reads", tap)
    if "layer" not in inner:
        return tap_name(inner)
    layer, _, how = tap_name(inner).partition(" ")
    return f"layer {layer} ({how}{' pooling' if 'pool' in inner else ''})"
