"""Which word each token belongs to, by the characters that both stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.data.texts.words import Place


@dataclass(frozen=True, eq=False)
class WordTokens:
    """The words of one text that have a token: those that are read, learned from and predicted.

    Attributes:
        numbers: Each one's number among all words of its text (words,), int64, ascending.
        places: Where it stands (words, 2): its first character, and the one behind its last.
    """

    numbers: np.ndarray
    places: np.ndarray

    @staticmethod
    def of(word_ids: Sequence[int], places: Sequence[Place]) -> WordTokens:
        """Return the words that tokens belong to.

        Args:
            word_ids: From ``words_of_tokens``.
            places: Where all words stand.
        """
        found = np.unique(np.array(word_ids, dtype=np.int64))
        numbers = found[found >= 0]
        return WordTokens(numbers, np.array(places, dtype=np.int64).reshape(-1, 2)[numbers])

    def __len__(self) -> int:
        return len(self.numbers)

    def renumbered(self, word_ids: Sequence[int]) -> list[int]:
        """Return word ids counted among these words."""
        ids = np.array(word_ids, dtype=np.int64)
        renumbered: list[int] = np.where(ids < 0, -1, np.searchsorted(self.numbers, ids)).tolist()
        return renumbered


def words_of_tokens(spans: Sequence[Place], places: Sequence[Place]) -> list[int]:
    """Return the number of the word that each token belongs to, -1 for none.

    A token belongs to the first word that it shares a character with: a blank in front of it, as byte-level tokens
    have, is of no word. Special tokens stand for no characters.

    Args:
        spans: Where each token stands, as a fast tokenizer's ``offset_mapping`` says.
        places: Where the words stand, in order, none inside another.
    """
    starts, ends = np.array(places, dtype=np.int64).reshape(-1, 2).T
    numbers = np.flatnonzero(starts < ends)  # an empty word has no character to share
    if not len(numbers) or not len(spans):
        return [-1] * len(spans)
    first, behind = np.array(spans, dtype=np.int64).T
    near = np.searchsorted(ends[numbers], first, side="right").clip(max=len(numbers) - 1)
    meets = (first < behind) & (starts[numbers[near]] < behind) & (first < ends[numbers[near]])
    word_ids: list[int] = np.where(meets, numbers[near], -1).tolist()
    return word_ids
