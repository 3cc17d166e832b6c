"""Texts as the rows of a graph: cut to the limit, or long ones in windows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from manyheads.data.texts.row_limit import row_limit
from manyheads.data.texts.texts import Texts
from manyheads.data.texts.tokenize import Tokenized, tokenize
from manyheads.data.texts.windows import split_into_windows
from manyheads.errors import InputError
from manyheads.heads.windows import POOLINGS, Windows
from manyheads.inference.settings import ScoringSettings
from manyheads.inference.texts_in_parts import TextsInParts
from manyheads.onnx.layout import HeadLayout, Layout
from manyheads.onnx.passes import room_for_text
from manyheads.types import Tokenizer


@dataclass(frozen=True, eq=False)
class Part:
    """The rows that some heads read.

    Attributes:
        tokenized: The rows.
        windows: Which text each row belongs to.
        heads: The names of the heads.
    """

    tokenized: Tokenized
    windows: Windows
    heads: Sequence[str]


@dataclass(frozen=True, eq=False)
class TextRows(TextsInParts):
    """Texts as rows.

    Attributes:
        parts: The rows of each part.
        heads: The heads that read them, by name.
    """

    parts: Sequence[Part]
    heads: Mapping[str, HeadLayout]


def as_rows(
    layout: Layout,
    tokenizer: Tokenizer,
    texts: Texts,
    heads: Mapping[str, HeadLayout],
    settings: ScoringSettings,
    where: Sequence[str] | None = None,
) -> TextRows:
    """Return texts as rows.

    Args:
        layout: What stands beside the graph.
        tokenizer: The backbone's own.
        texts: The texts.
        heads: The heads that read them, by name.
        settings: What becomes of long texts.
        where: Each text's place, for messages.

    Raises:
        TextError: pairs of texts for heads that label words.
        InputError: a text beyond the limit under ``long_text="error"``, a text without room in its windows, or pairs of
            texts for a head with a prompt.
    """
    words = _words_for(heads, texts)
    rooms = {name: _room(layout, name, head, texts) for name, head in heads.items()}
    limit = row_limit(settings.max_length, layout.limit)
    if settings.long_text not in POOLINGS:
        least = _least(rooms.values())
        cut = tokenize(tokenizer, texts.texts, limit, layout.accepted, settings.long_text, where, least, words)
        whole, parts = cut, [Part(cut, Windows.one_each(len(cut)), list(heads))]
    else:
        whole = tokenize(tokenizer, texts.texts, None, layout.accepted, words=words)
        groups = _by_limit({name: _least([limit, room]) for name, room in rooms.items()}, whole)
        parts = []
        for own, names in groups.items():
            split = split_into_windows(tokenizer, texts.texts, whole, own, where)
            parts.append(Part(split.tokenized, split.windows, names))
    places = None if whole.words is None else [held.places for held in whole.words]
    return TextRows(texts, parts, whole.truncated, places, heads)


def _words_for(heads: Mapping[str, HeadLayout], texts: Texts) -> list[list[tuple[int, int]]] | None:
    """Return the characters of each text's words; ``None`` if none of the heads labels words."""
    rule = next((head.spec.word_rule for head in heads.values() if head.spec.word_rule is not None), None)
    return None if rule is None else texts.words(rule)


def _room(layout: Layout, name: str, head: HeadLayout, texts: Texts) -> int | None:
    """Return the most tokens of a text that fits into every prompt of a head; ``None`` for no limit."""
    if any(head.passes) and any(isinstance(text, tuple) for text in texts.texts):
        raise InputError(f"Head {name!r}: its prompt stands around one text; give no pairs")
    return room_for_text(layout, head.passes)


def _by_limit(limits: Mapping[str, int | None], whole: Tokenized) -> dict[int | None, list[str]]:
    """Return the names of the heads whose windows have the same limit, by it; ``None`` where no text is split."""
    longest, groups = int(whole.lengths.max(initial=0)), dict[int | None, list[str]]()
    for name, limit in limits.items():
        groups.setdefault(limit if limit is not None and longest > limit else None, []).append(name)
    return groups


def _least(sizes: Iterable[int | None]) -> int | None:
    return min((size for size in sizes if size is not None), default=None)
