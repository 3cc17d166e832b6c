"""The word of each token, by their characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.runtime.words import Place


@dataclass(frozen=True, eq=False)
class WordTokens:
    """The words of one text that have a token.

    Attributes:
        numbers: Each one's number among all words of its text (words,), int64, ascending.
        places: (words, 2) the first character of each word, and the one after its last. A word whose token also covers
            the words after it ends where they end.
    """

    numbers: np.ndarray
    places: np.ndarray

    @staticmethod
    def of(word_ids: Sequence[int], token_ends: Sequence[int], places: Sequence[Place]) -> WordTokens:
        """Return the words that tokens belong to.

        Args:
            word_ids: From ``words_of_tokens``.
            token_ends: The character after the last one of each token.
            places: The characters of all words.
        """
        ids, ends = np.array(word_ids, dtype=np.int64), np.array(token_ends, dtype=np.int64)
        found = np.unique(ids)
        numbers = found[found >= 0]
        own = np.array(places, dtype=np.int64).reshape(-1, 2)
        held = own[numbers]
        # Words after a word and before the next one with a token, as far as its tokens reach.
        reach = held[:, 1].copy()
        inside = ids >= 0
        np.maximum.at(reach, np.searchsorted(numbers, ids[inside]), ends[inside])
        last = np.searchsorted(own[:, 0], reach, side="left") - 1
        limits = np.append(numbers[1:], len(own)) - 1
        held[:, 1] = own[np.clip(last, numbers, limits), 1]
        return WordTokens(numbers, held)

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, positions: np.ndarray) -> WordTokens:
        """Return some of these words."""
        return WordTokens(self.numbers[positions], self.places[positions])

    def renumbered(self, word_ids: Sequence[int]) -> list[int]:
        """Return word ids counted among these words."""
        ids = np.array(word_ids, dtype=np.int64)
        renumbered: list[int] = np.where(ids < 0, -1, np.searchsorted(self.numbers, ids)).tolist()
        return renumbered


def words_of_tokens(spans: Sequence[Place], places: Sequence[Place]) -> list[int]:
    """Return the number of the word that each token belongs to, -1 for none.

    A token belongs to the first word with which it shares a character. The space at the start of a byte-level token
    belongs to no word. Special tokens have no characters.

    Args:
        spans: The characters of each token, from a fast tokenizer's ``offset_mapping``.
        places: The characters of the words, in order and without overlaps.
    """
    starts, ends = np.array(places, dtype=np.int64).reshape(-1, 2).T
    numbers = np.flatnonzero(starts < ends)  # an empty word has no character to share
    if not len(numbers) or not len(spans):
        return [-1] * len(spans)
    first, end = np.array(spans, dtype=np.int64).T
    near = np.searchsorted(ends[numbers], first, side="right").clip(max=len(numbers) - 1)
    meets = (first < end) & (starts[numbers[near]] < end) & (first < ends[numbers[near]])
    word_ids: list[int] = np.where(meets, numbers[near], -1).tolist()
    return word_ids
