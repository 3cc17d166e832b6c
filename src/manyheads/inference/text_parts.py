"""Texts as the rows of a pass: cut to the limit, or long ones in windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.data.texts.tokenize import Tokenized
from manyheads.data.texts.windows import split_into_windows
from manyheads.features.tokenize import tokenize_for, tokenize_whole, window_limit
from manyheads.heads import Head
from manyheads.heads.windows import POOLINGS, Windows
from manyheads.inference.settings import ScoringSettings
from manyheads.runtime.words import Place
from manyheads.taps import BackboneTap, Tap
from manyheads.types import Tokenizer


@dataclass(frozen=True)
class Readers:
    """Who reads texts.

    Attributes:
        heads: Heads, by name.
        taps: Taps whose features are given out, and how they are resolved.
    """

    heads: Mapping[str, Head]
    taps: Mapping[Tap, BackboneTap]


@dataclass(frozen=True, eq=False)
class Part:
    """The rows that some heads and taps read.

    Attributes:
        tokenized: The rows.
        windows: Which text each row belongs to.
        readers: The heads and taps.
    """

    tokenized: Tokenized
    windows: Windows
    readers: Readers


@dataclass(frozen=True, eq=False)
class TextParts:
    """Texts as rows.

    Attributes:
        texts: The texts.
        readers: All heads and taps.
        parts: The rows of each of them. Prompts take room in every window, so that heads with prompts of another length
            read other windows, if a text is long.
        truncated: (texts,) booleans: the text was truncated.
        words: Per text, the first character of each of its words and the one after the last, int64 (words, 2), or
            ``None``.
    """

    texts: Texts
    readers: Readers
    parts: Sequence[Part]
    truncated: np.ndarray
    words: Sequence[np.ndarray] | None

    @property
    def whole(self) -> Tokenized:
        """The rows of texts that are not split into windows."""
        (part,) = self.parts
        return part.tokenized

    @property
    def windows(self) -> np.ndarray:
        """Number of windows of each text, int64 (texts,): the largest of all parts."""
        return reduce(np.maximum, (part.windows.counts for part in self.parts))

    @property
    def tokens(self) -> np.ndarray:
        """Number of tokens of each text that are read, int64 (texts,): those of all its windows, without prompts."""
        part = self.parts[0]
        counts: np.ndarray = np.add.reduceat(part.tokenized.lengths, part.windows.offsets[:-1])
        return counts


def as_rows(
    core: HeadedCore,
    tokenizer: Tokenizer,
    texts: Texts,
    readers: Readers,
    settings: ScoringSettings,
    words: Sequence[Sequence[Place]] | None,
    where: Sequence[str] | None,
) -> TextParts:
    """Return texts as rows.

    Args:
        core: Whose backbone reads them.
        tokenizer: The backbone's own.
        texts: The texts.
        readers: The heads and taps that read them.
        settings: What becomes of long texts.
        words: The characters of each text's words, if a head labels words.
        where: Each text's place, for messages.

    Raises:
        InputError: a text beyond the limit under ``long_text="error"``, or without room for text in its windows.
    """
    if settings.long_text not in POOLINGS:
        reading, limits = [*core.heads.taps_of(readers.heads), *readers.taps.values()], settings.max_length
        cut = tokenize_for(core, tokenizer, texts.texts, limits, settings.long_text, where, reading, words)
        return TextParts(texts, readers, [Part(cut, Windows.one_each(len(cut)), readers)], cut.truncated, _places(cut))
    whole = tokenize_whole(core, tokenizer, texts.texts, words)
    longest = int(whole.lengths.max(initial=0))

    @cache
    def limit_of(taps: tuple[Tap, ...]) -> int | None:
        limit = window_limit(core, tokenizer, texts.texts, settings.max_length, taps)
        return limit if limit is not None and longest > limit else None

    parts = []
    for limit, group in _by_limit(core, readers, limit_of).items():
        found = split_into_windows(tokenizer, texts.texts, whole, limit, where)
        parts.append(Part(found.tokenized, found.windows, group))
    return TextParts(texts, readers, parts, whole.truncated, _places(whole))


def _by_limit(
    core: HeadedCore, readers: Readers, limit_of: Callable[[tuple[Tap, ...]], int | None]
) -> dict[int | None, Readers]:
    """Return the heads and taps whose windows have the same limit, by it; ``None`` where no text is split."""
    heads = {name: limit_of(tuple(core.heads.taps_of([name]))) for name in readers.heads}
    taps = {tap: limit_of((resolved,)) for tap, resolved in readers.taps.items()}
    return {
        limit: Readers(
            {name: head for name, head in readers.heads.items() if heads[name] == limit},
            {tap: resolved for tap, resolved in readers.taps.items() if taps[tap] == limit},
        )
        for limit in dict.fromkeys([*heads.values(), *taps.values()])
    }


def _places(tokenized: Tokenized) -> list[np.ndarray] | None:
    return None if tokenized.words is None else [words.places for words in tokenized.words]
