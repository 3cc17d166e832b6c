"""Spans in a label cell, in the forms of annotation tools, and whether they fit the words of their text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from manyheads.errors import LabelError, listed
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.label_text import number_of
from manyheads.runtime.lists import loaded, plain
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
    first, last = _whole(start), _whole(end)
    if first is None or last is None:
        raise LabelError(f"{place}: a span takes whole numbers, got {start!r} and {end!r}; correct the cell")
    span = LabelSpan(first, last, plain(label), text if isinstance(text, str) else None)
    if is_missing(span.label):
        raise LabelError(f"{place}: the span {span.start} to {span.end} has no label; name one, or leave the span out")
    return span


def _whole(number: object) -> int | None:
    """Return a number of characters, which tables may have turned into a float or a text."""
    value = number_of(str(plain(number)))
    return int(value) if value is not None and math.isfinite(value) and value == int(value) else None


def _part(item: Mapping[object, object], names: Sequence[str]) -> object:
    return next(item[name] for name in names if name in item)


def check_spans(texts: Sequence[SplitText], spans: Sequence[Sequence[LabelSpan]], places: Sequence[str]) -> None:
    """Check that the spans of a table consist of whole words, and of the text that their cells contain.

    Args:
        texts: The text of each row.
        spans: The spans of each row.
        places: The place of each row's cell, for messages.

    Raises:
        LabelError: a span that does not; it names the likely cause, and how many spans of the table that explains.
    """
    for text, row, place in zip(texts, spans, places, strict=True):
        wrong = next((span for span in row if not _fits(text, span)), None)
        if wrong is not None:
            found = [(other, span) for other, spans_ in zip(texts, spans, strict=True) for span in spans_]
            cause = _cause(text, wrong, found)
            raise LabelError(f"{_shown(wrong, place)} {_problem(text, wrong)}; {cause}")


def _shown(span: LabelSpan, place: str) -> str:
    return f"{place}: the span {span.start} to {span.end} ({span.label!r})"


def words_of_spans(text: SplitText, spans: Sequence[LabelSpan], place: str) -> list[tuple[range, LabelSpan]]:
    """Return, in the order of the text, the words of each span that fits it; spaces at its ends are left out.

    Raises:
        LabelError: a span that contains no word, or two that overlap.
    """
    found: list[tuple[range, LabelSpan]] = []
    for span in sorted(spans, key=lambda one: (one.start, one.end)):
        shown = _shown(span, place)
        words = _words(text, span)
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


def _fits(text: SplitText, span: LabelSpan) -> bool:
    return _words(text, span) is not None and _has_its_text(text.text, span)


def _problem(text: SplitText, span: LabelSpan) -> str:
    """Return what is wrong with a span that does not fit."""
    piece = text.text[span.start : span.end]
    if not 0 <= span.start < span.end <= len(text.text):
        return f"does not lie in its text of {len(text.text)} characters"
    if not _has_its_text(text.text, span):
        return f"is {piece!r:.40} in its text, and {span.text!r:.40} in the cell"
    touched = [word for word in text.words if word[0] < span.end and span.start < word[1]]
    start, end = touched[0] if touched[0][0] < span.start else touched[-1]
    return f"cuts the word {text.text[start:end]!r:.40} at characters {start} to {end}"


def _cause(text: SplitText, span: LabelSpan, spans: Sequence[tuple[SplitText, LabelSpan]]) -> str:
    """Return the likely cause of a span that does not fit: at best one that explains all spans of the table."""
    causes = [cause for cause, read in _READINGS.items() if _is_whole(text, read(text.text, span))]
    for cause in causes:
        if len(spans) > 1 and all(_is_whole(other, _READINGS[cause](other.text, one)) for other, one in spans):
            return f"{cause}, and so do those of all {len(spans)} spans of the table"
    return causes[0] if causes else "count characters from 0, and let the end be the character after the last one"


def _is_whole(text: SplitText, span: LabelSpan) -> bool:
    return bool(_words(text, span)) and _has_its_text(text.text, span)


def _from_inclusive(text: str, span: LabelSpan) -> LabelSpan:
    return replace(span, end=span.end + 1)


def _from_one(text: str, span: LabelSpan) -> LabelSpan:
    return replace(span, start=span.start - 1, end=span.end - 1)


def _from_one_inclusive(text: str, span: LabelSpan) -> LabelSpan:
    return replace(span, start=span.start - 1)


def _from_utf16(text: str, span: LabelSpan) -> LabelSpan:
    return _from_encoding(text, span, "utf-16-le", 2)


def _from_utf8(text: str, span: LabelSpan) -> LabelSpan:
    return _from_encoding(text, span, "utf-8", 1)


def _from_encoding(text: str, span: LabelSpan, encoding: str, size: int) -> LabelSpan:
    encoded = text.encode(encoding, "surrogatepass")
    if not 0 <= span.start <= span.end <= len(encoded) // size:
        return span
    start, end = (len(encoded[: at * size].decode(encoding, "ignore")) for at in (span.start, span.end))
    return replace(span, start=start, end=end)


def _from_crlf(text: str, span: LabelSpan) -> LabelSpan:
    if "\r\n" in text:
        return span
    long = text.replace("\n", "\r\n")
    start, end = (len(long[:at].replace("\r\n", "\n")) for at in (span.start, span.end))
    return replace(span, start=start, end=end)


def _to_crlf(text: str, span: LabelSpan) -> LabelSpan:
    lines = text.replace("\r\n", "\n")
    start, end = (len(lines[:at].replace("\n", "\r\n")) for at in (span.start, span.end))
    return replace(span, start=start, end=end)


def _from_stripped(text: str, span: LabelSpan) -> LabelSpan:
    spaces = len(text) - len(text.lstrip())
    return replace(span, start=span.start + spaces, end=span.end + spaces)


# How offsets are often counted wrong, and the span in characters under each.
_READINGS: dict[str, Callable[[str, LabelSpan], LabelSpan]] = {
    "its offsets end at the last character, and should end at the one after it": _from_inclusive,
    "its offsets count UTF-16 units (as JavaScript does), and should count characters": _from_utf16,
    "its offsets count UTF-8 bytes, and should count characters": _from_utf8,
    "its offsets count a line break as two characters (CRLF), and the text has one": _from_crlf,
    "its offsets count a line break as one character, and the text has two (CRLF)": _to_crlf,
    "its offsets count from 1, and should count from 0": _from_one,
    "its offsets count from 1 and end at the last character, and should count from 0 and end after it": (
        _from_one_inclusive
    ),
    "its offsets leave out the spaces at the start of the text, and should count them": _from_stripped,
}


def listed_items(cell: object) -> list[object] | None:
    """Return the items of a list, of spaCy's ``{"entities": [...]}``, or of the text of either; else ``None``.

    Args:
        cell: A cell; a text may be JSON, or what Python prints.
    """
    if isinstance(cell, str):
        cell = loaded(cell) if cell.lstrip().startswith(("[", "{")) else None
    if isinstance(cell, Mapping) and isinstance(cell.get("entities"), list | tuple):
        cell = cell["entities"]
    return list(cell) if isinstance(cell, list | tuple) else None
