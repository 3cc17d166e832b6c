"""Texts as the rows of a pass: cut to the limit, or long ones in windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.data.texts.tokenize import Tokenized
from manyheads.data.texts.windows import split_into_windows
from manyheads.features.tokenize import tokenize_for, tokenize_whole, window_limit
from manyheads.heads import Head
from manyheads.heads.windows import POOLINGS, Windows
from manyheads.inference.settings import ScoringSettings
from manyheads.inference.texts_in_parts import TextsInParts
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
class TextParts(TextsInParts):
    """Texts as rows.

    Attributes:
        parts: The rows of each part.
        readers: All heads and taps.
    """

    parts: Sequence[Part]
    readers: Readers

    @property
    def whole(self) -> Tokenized:
        """The rows of texts that are not split into windows."""
        (part,) = self.parts
        return part.tokenized


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
        parts = [Part(cut, Windows.one_each(len(cut)), readers)]
        return TextParts(texts, parts, cut.truncated, _places(cut), readers)
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
    return TextParts(texts, parts, whole.truncated, _places(whole), readers)


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
