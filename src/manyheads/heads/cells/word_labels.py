"""Label cells for the words of a text: tags or spans."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.errors import LabelError, listed
from manyheads.heads.cells.cells import is_missing, plain

# First character of a word, and the character after its last one.
Place = tuple[int, int]
# How texts may be split; ``data.texts.words`` does it.
WORD_RULES = ("punctuation", "spaces")


@dataclass(frozen=True)
class SplitText:
    """The words of a text.

    Attributes:
        words: First character and end of each word.
        length: Number of characters of the text.
    """

    words: Sequence[Place]
    length: int


@dataclass(frozen=True)
class LabelSpan:
    """A labelled piece of a text, as a cell gives it, in characters."""

    start: int
    end: int
    label: object


def parsed(cell: object, place: str) -> list[object] | list[LabelSpan]:
    """Return a cell as a list of tags, or of spans: a list, or JSON of one.

    Args:
        cell: Tags (scalars), spans (objects with ``start``, ``end`` and ``label``, or triples of them), or JSON.
        place: For messages.

    Raises:
        LabelError: something else.
    """
    items = _listed(cell)
    if items is None:
        raise LabelError(
            f"{place}: {cell!r:.60} is neither a list of tags, one per word, nor a list of spans with start, end and "
            "label. Correct the cell, or leave it empty if it is missing."
        )
    spans = [isinstance(item, Mapping | list | tuple) for item in items]
    if any(spans) and not all(spans):
        raise LabelError(f"{place}: mixes tags and spans. Give a list of either.")
    return [_span(item, place) for item in items] if any(spans) else [plain(item) for item in items]


def is_spans(cell: object) -> bool:
    """Return whether a cell contains at least one span and nothing else."""
    items = _listed(cell) or []
    return bool(items) and all(isinstance(item, Mapping) and {"start", "end", "label"} <= set(item) for item in items)


def spans_over(text: SplitText, spans: Sequence[LabelSpan], place: str) -> list[tuple[range, LabelSpan]]:
    """Return, in the order of the text, which words each span labels: all that it shares a character with.

    Raises:
        LabelError: a span outside the text, one without a word, or two that meet in a character or a word.
    """
    found: list[tuple[range, LabelSpan]] = []
    for span in sorted(spans, key=lambda one: (one.start, one.end)):
        if not 0 <= span.start < span.end <= text.length:
            raise LabelError(
                f"{place}: the span {span.start} to {span.end} ({span.label!r}) does not lie in its text of "
                f"{text.length} characters. Count characters from 0; end is the character after the last one."
            )
        if found and span.start < found[-1][1].end:
            other = found[-1][1]
            raise LabelError(
                f"{place}: the spans {other.start} to {other.end} ({other.label!r}) and {span.start} to {span.end} "
                f"({span.label!r}) overlap. A word has one label: keep one of them, or give them to two heads."
            )
        inside = [number for number, (start, end) in enumerate(text.words) if start < span.end and span.start < end]
        if not inside:
            raise LabelError(
                f"{place}: the span {span.start} to {span.end} ({span.label!r}) contains only spaces. Correct it."
            )
        if found and inside[0] in found[-1][0]:
            start, end = text.words[inside[0]]
            raise LabelError(
                f"{place}: two spans, {found[-1][1].label!r} and {span.label!r}, share the word at characters {start} "
                f"to {end}. A word has one label: split words finer (words='punctuation'), or keep one of them."
            )
        found.append((range(inside[0], inside[-1] + 1), span))
    return found


def check_count(tags: Sequence[object], text: SplitText, place: str, rule: str) -> None:
    """Check that there are as many tags as words.

    Raises:
        LabelError: different numbers.
    """
    if len(tags) != len(text.words):
        raise LabelError(
            f"{place}: has {len(tags)} tags for {len(text.words)} words. Give the text as a list of the words that "
            f"the tags are of, or see whether words={rule!r} is how the text was split."
        )


def _listed(cell: object) -> list[object] | None:
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell.lstrip().startswith("[") else None
        except ValueError:
            return None
    if isinstance(cell, np.ndarray):
        cell = cell.tolist()
    return list(cell) if isinstance(cell, list | tuple) else None


def _span(item: object, place: str) -> LabelSpan:
    values = [item.get(key) for key in ("start", "end", "label")] if isinstance(item, Mapping) else list(item)  # type: ignore[call-overload]
    try:
        start, end, label = values
        span = LabelSpan(operator.index(plain(start)), operator.index(plain(end)), plain(label))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        given = listed(item) if isinstance(item, Mapping) else f"{item!r:.60}"
        raise LabelError(
            f"{place}: a span takes start and end, in characters, and label; got {given}. Correct the cell."
        ) from None
    if is_missing(span.label):
        raise LabelError(f"{place}: the span {span.start} to {span.end} has no label. Name one, or leave the span out.")
    return span
