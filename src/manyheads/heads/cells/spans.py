"""Spans in a label cell, in the forms of annotation tools, and whether they fit the words of their text."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from manyheads.errors import LabelError, listed
from manyheads.heads.cells.cells import is_missing
from manyheads.runtime.lists import plain
from manyheads.runtime.words import Place

# Names that tools give to the parts of a span: Prodigy and Label Studio, doccano.
_STARTS, _ENDS, _LABELS = ("start", "start_offset"), ("end", "end_offset"), ("label", "labels")


@dataclass(frozen=True)
class SplitText:
    """The words of a text.

    Attributes:
        words: First character and end of each word.
        text: The text.
    """

    words: Sequence[Place]
    text: str


@dataclass(frozen=True)
class LabelSpan:
    """A labelled piece of a text, as a cell gives it, in characters.

    Attributes:
        start: Its first character.
        end: The character after its last one.
        label: Its label.
        text: Its text, if the cell contains it.
    """

    start: int
    end: int
    label: object
    text: str | None = None


def is_span(item: object) -> bool:
    """Return whether an item has the form of a span: named parts, or two numbers and a label in either order."""
    if isinstance(item, Mapping):
        return all(any(name in item for name in names) for names in (_STARTS, _ENDS, _LABELS))
    if not isinstance(item, list | tuple) or len(item) != 3:
        return False
    return [isinstance(plain(part), int) for part in item] in ([True, True, False], [False, True, True])


def read_span(item: object, place: str) -> LabelSpan:
    """Return a span of a cell.

    Args:
        item: A mapping with the names of Prodigy, Label Studio or doccano, or a triple as in doccano, spaCy or Argilla.
        place: The cell's place, for messages.

    Raises:
        LabelError: another form, or a span without a label.
    """
    if not is_span(item):
        given = f"the keys {listed(item)}" if isinstance(item, Mapping) else f"{item!r:.60}"
        raise LabelError(
            f"{place}: a span needs 'start', 'end' (in characters) and 'label', or a triple of them; got {given}; "
            "correct the cell"
        )
    if isinstance(item, Mapping):
        start, end, label = (_part(item, names) for names in (_STARTS, _ENDS, _LABELS))
        text = item.get("text")
    else:
        assert isinstance(item, list | tuple)
        parts = [plain(part) for part in item]
        label, start, end = parts if isinstance(parts[1], int) and isinstance(parts[2], int) else (parts[2], *parts[:2])
        text = None
    if isinstance(label, list | tuple):
        if len(label) != 1:
            raise LabelError(f"{place}: a span has the labels {listed(label)}; give each label a span of its own")
        label = label[0]
    try:
        span = LabelSpan(operator.index(plain(start)), operator.index(plain(end)), plain(label), text)  # type: ignore[arg-type]
    except TypeError:
        raise LabelError(f"{place}: a span takes whole numbers, got {start!r} and {end!r}; correct the cell") from None
    if is_missing(span.label):
        raise LabelError(f"{place}: the span {span.start} to {span.end} has no label; name one, or leave the span out")
    return span


def _part(item: Mapping[object, object], names: Sequence[str]) -> object:
    return next(item[name] for name in names if name in item)


def words_of_spans(text: SplitText, spans: Sequence[LabelSpan], place: str) -> list[tuple[range, LabelSpan]]:
    """Return, in the order of the text, the words of each span; spaces at its ends are left out.

    Raises:
        LabelError: a span outside the text, one that cuts a word or contains none, one whose text differs, or two that
            overlap.
    """
    found: list[tuple[range, LabelSpan]] = []
    for span in sorted(spans, key=lambda one: (one.start, one.end)):
        shown = f"{place}: the span {span.start} to {span.end} ({span.label!r})"
        words = _words(text, span)
        if words is None or not _has_its_text(text.text, span):
            raise LabelError(f"{shown} {_problem(text, span)}")
        if not words:
            raise LabelError(f"{shown} contains only spaces; correct it")
        if found and words[0] in found[-1][0]:
            other = found[-1][1]
            raise LabelError(
                f"{shown} overlaps the span {other.start} to {other.end} ({other.label!r}), and a word has one label; "
                "keep one of them, or give them to two heads"
            )
        found.append((words, span))
    return found


def _words(text: SplitText, span: LabelSpan) -> range | None:
    """Return the words that a span covers, or ``None`` if it lies outside the text or cuts a word."""
    if not 0 <= span.start < span.end <= len(text.text):
        return None
    inside = [number for number, (start, end) in enumerate(text.words) if start < span.end and span.start < end]
    if not inside:
        return range(0)
    # Punctuation at the ends of a word need not belong to the span: words that are split at spaces contain it.
    outside = text.text[text.words[inside[0]][0] : span.start] + text.text[span.end : text.words[inside[-1]][1]]
    cut = any(character.isalnum() for character in outside)
    return None if cut else range(inside[0], inside[-1] + 1)


def _has_its_text(text: str, span: LabelSpan) -> bool:
    return span.text is None or " ".join(text[span.start : span.end].split()) == " ".join(span.text.split())


def _problem(text: SplitText, span: LabelSpan) -> str:
    """Return what is wrong with a span, with its likely cause."""
    piece = text.text[span.start : span.end]
    if span.text is not None and not _has_its_text(text.text, span):
        wrong = f"is {piece!r:.40} in its text, and {span.text!r:.40} in the cell"
    elif not 0 <= span.start < span.end <= len(text.text):
        wrong = f"does not lie in its text of {len(text.text)} characters"
    else:
        start, end = next(word for word in text.words if word[0] < span.end and span.start < word[1])
        last = next(word for word in reversed(text.words) if word[0] < span.end and span.start < word[1])
        start, end = (start, end) if start < span.start else last
        wrong = f"cuts the word {text.text[start:end]!r:.40} at characters {start} to {end}"
    for cause, moved in _causes(text.text, span):
        if _words(text, moved) and _has_its_text(text.text, moved):
            return f"{wrong}; {cause}"
    return f"{wrong}; count characters from 0, and let the end be the character after the last one"


def _causes(text: str, span: LabelSpan) -> list[tuple[str, LabelSpan]]:
    """Return ways in which offsets are often counted wrong, and the span in characters under each."""
    units = _from_encoding(text, span, "utf-16-le", 2)
    octets = _from_encoding(text, span, "utf-8", 1)
    lines = text.replace("\r\n", "\n")
    return [
        ("its end is the last character, and should be the one after it", _moved(span, 0, 1)),
        ("its offsets count UTF-16 units (as JavaScript does), and should count characters", units),
        ("its offsets count UTF-8 bytes, and should count characters", octets),
        ("its offsets count a line break as two characters (CRLF), and the text has one", _from_crlf(text, span)),
        ("its offsets count a line break as one character, and the text has two (CRLF)", _to_crlf(lines, span)),
        ("its offsets count from 1, and should count from 0", _moved(span, -1, -1)),
    ]


def _moved(span: LabelSpan, start: int, end: int) -> LabelSpan:
    return LabelSpan(span.start + start, span.end + end, span.label, span.text)


def _from_encoding(text: str, span: LabelSpan, encoding: str, size: int) -> LabelSpan:
    encoded = text.encode(encoding, "surrogatepass")
    start, end = (len(encoded[: at * size].decode(encoding, "ignore")) for at in (span.start, span.end))
    return LabelSpan(start, end, span.label, span.text)


def _from_crlf(text: str, span: LabelSpan) -> LabelSpan:
    long = text.replace("\r\n", "\n").replace("\n", "\r\n")
    start, end = (len(long[:at].replace("\r\n", "\n")) for at in (span.start, span.end))
    return LabelSpan(start, end, span.label, span.text)


def _to_crlf(lines: str, span: LabelSpan) -> LabelSpan:
    start, end = (len(lines[:at].replace("\n", "\r\n")) for at in (span.start, span.end))
    return LabelSpan(start, end, span.label, span.text)


def listed_items(cell: object) -> list[object] | None:
    """Return the items of a list, of the text of a JSON list, or of spaCy's ``{"entities": [...]}``; else ``None``."""
    if isinstance(cell, str):
        try:
            cell = json.loads(cell) if cell.lstrip().startswith(("[", "{")) else None
        except ValueError:
            return None
    if isinstance(cell, Mapping) and isinstance(cell.get("entities"), list | tuple):
        cell = cell["entities"]
    return list(cell) if isinstance(cell, list | tuple) else None
