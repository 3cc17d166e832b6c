"""What a head reads, and how well each layer explains its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    sentence = f"It reads {', '.join(map(tap_in_words, subject.made.reads))}."
    rows = explained_by_tap(subject.made.summary.get("tried", []), subject.made.reads)
    named = [("all that it reads" if " + " in name else name, share) for name, share in rows]
    block = (
        Pictures([bars("Labels explained by each layer", named)], _LEGEND, [sentence])
        if any(share > 0 for _, share in rows)
        else None
    )
    return Section("What it reads", "", [block or Sentences([sentence])])


def tap_in_words(tap: Mapping[str, Any]) -> str:
    """Return a tap, given as plain JSON, as people read it."""
    return _WORDS[tap["tap"]](tap)


def _layer(tap: Mapping[str, Any]) -> str:
    layer, _, how = tap_name(tap).partition(" ")
    return f"layer {layer} ({how}{' pooling' if 'pool' in tap else ''})"


# Kind of tap -> words.
_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "hidden": _layer,
    "words": _layer,
    "lexical": tap_name,
    "lm_logits": lambda tap: f"logits of the language model ({tap['pool']} pooling)",
    "output": lambda tap: f"scores of the head {tap['head']}",
    "branched": lambda tap: f"{tap_in_words(tap['reads'])} of {tap['branch']}",
    "prompted": lambda tap: f"{tap_in_words(tap['reads'])} with a prompt",
}
