"""Long texts as windows: rows that overlap, each with all special tokens of its text.

A window is as long as the limit allows. Windows lie evenly, and neighbors share at least a quarter of the text in each.
The longer text of a pair is split, and every window has the whole of the other one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from manyheads.data.texts.tokenize import Text, Tokenized, pieces_of, special_tokens
from manyheads.data.texts.window_words import WordWindows, words_of_windows
from manyheads.errors import InputError
from manyheads.heads import Ragged
from manyheads.heads.ragged import offsets_of
from manyheads.heads.windows import Windows
from manyheads.types import Tokenizer

# The least share of a window's text that the window after it contains too.
OVERLAP = 0.25
# A pair whose shorter text leaves less than this share of a window to the other would need very many windows.
_LEAST_ROOM = 0.25


@dataclass(frozen=True, eq=False)
class WindowedTexts:
    """Texts as windows.

    Attributes:
        tokenized: The windows, a row each, those of one text in their order.
        windows: Which text each one belongs to.
    """

    tokenized: Tokenized
    windows: Windows


def split_into_windows(
    tokenizer: Tokenizer,
    texts: Sequence[Text],
    whole: Tokenized,
    limit: int | None,
    where: Sequence[str] | None = None,
) -> WindowedTexts:
    """Split the texts beyond a limit into windows; the others stay as they are.

    Args:
        tokenizer: The backbone's own.
        texts: The texts.
        whole: Their tokens, none cut off.
        limit: Most tokens of a window, special tokens included; ``None`` for no limit.
        where: Each text's place, for messages; by default its position in ``texts``.

    Raises:
        InputError: a window has no room for text, or too little of it beside the other text of a pair.
    """
    if limit is None or not (whole.lengths > limit).any():
        return WindowedTexts(whole, Windows.one_each(len(whole)))
    cuts: dict[int, _Cut] = {}
    around = special_tokens(tokenizer)
    for row in np.flatnonzero(whole.lengths > limit).tolist():
        place = where[row] if where else f"The list of texts, row {row + 1}"
        cuts[row] = _cut(tokenizer, texts[row], whole.ids(row), around, limit, place)
    inputs = {
        name: [window for row, values in enumerate(rows) for window in _windows(values, cuts.get(row))]
        for name, rows in whole.inputs.items()
    }
    offsets = offsets_of([len(cuts[row].starts) if row in cuts else 1 for row in range(len(whole))])
    uncut = np.zeros(offsets[-1], dtype=bool)
    if whole.words is None:
        return WindowedTexts(Tokenized(inputs, uncut, whole.pad), Windows(offsets))
    split = [
        words_of_windows(held, inputs["word_ids"][first:end])
        for held, (first, end) in zip(whole.words, pairwise(offsets.tolist()), strict=True)
    ]
    inputs["word_ids"] = [ids for text in split for ids in text.word_ids]
    tokenized = Tokenized(inputs, uncut, whole.pad, [words for text in split for words in text.words])
    return WindowedTexts(tokenized, Windows(offsets, _places(split)))


@dataclass(frozen=True)
class _Cut:
    """Where a text is cut.

    Attributes:
        begin: Its first token that not every window has.
        end: The token after the last such one.
        starts: The first such token of each window.
        room: Number of such tokens in each window.
    """

    begin: int
    end: int
    starts: Sequence[int]
    room: int


def _cut(
    tokenizer: Tokenizer,
    text: Text,
    ids: Sequence[int],
    around: tuple[tuple[int, ...], tuple[int, ...]],
    limit: int,
    place: str,
) -> _Cut:
    begin, end = _inside(ids, *around)
    if not isinstance(text, str):
        begin, end = _longer_text(tokenizer, text, ids, begin, end, place)
    room = limit - (len(ids) - (end - begin))
    if room < max(1.0, _LEAST_ROOM * limit):
        kept = "special tokens" if isinstance(text, str) else "the shorter text of the pair and special tokens"
        step = "raise max_length" if isinstance(text, str) else "shorten it, or use long_text='truncate'"
        raise InputError(
            f"{place}: {kept} take {limit - room} of the {limit} tokens of each window, which leaves too little room "
            f"for the text; {step}"
        )
    return _Cut(begin, end, [begin + start for start in _starts(end - begin, room)], room)


def _starts(tokens: int, room: int) -> list[int]:
    """Return the first token of each window over so many tokens, more than its room: evenly, from the first token to
    the last."""
    step = room - int(OVERLAP * room)
    last = tokens - room
    gaps = -(-last // step)
    return [last * gap // gaps for gap in range(gaps + 1)]


def _inside(ids: Sequence[int], opening: Sequence[int], closing: Sequence[int]) -> tuple[int, int]:
    """Return where the tokens between the special tokens around a text, or a pair, begin and end."""
    begin = len(opening) if tuple(ids[: len(opening)]) == tuple(opening) else 0
    closed = closing and tuple(ids[-len(closing) :]) == tuple(closing)
    return begin, len(ids) - len(closing) if closed else len(ids)


def _longer_text(
    tokenizer: Tokenizer, pair: tuple[str, str], ids: Sequence[int], begin: int, end: int, place: str
) -> tuple[int, int]:
    """Return where the tokens of the longer text of a pair begin and end.

    Raises:
        InputError: the tokens of the text alone are not among those of the pair.
    """
    first, second = (pieces_of(tokenizer, text) for text in pair)
    found, own = (
        ((begin, begin + len(first)), first) if len(first) > len(second) else ((end - len(second), end), second)
    )
    if tuple(ids[slice(*found)]) != own:
        raise InputError(
            f"{place}: {type(tokenizer).__name__} splits the longer text of the pair differently alone, so it has no "
            "windows; use long_text='truncate'"
        )
    return found


def _windows(values: list[int], cut: _Cut | None) -> list[list[int]]:
    """Return what belongs to the tokens of each window."""
    if cut is None:
        return [values]
    before, after = values[: cut.begin], values[cut.end :]
    return [[*before, *values[start : start + cut.room], *after] for start in cut.starts]


def _places(texts: Sequence[WordWindows]) -> Ragged:
    """Return the place of each word among the words of all windows of all texts."""
    held = offsets_of([sum(len(words) for words in text.words) for text in texts])
    places = [text.places + first for text, first in zip(texts, held[:-1].tolist(), strict=True)]
    return Ragged(np.concatenate(places), offsets_of([len(place) for place in places]))
