"""The words of the windows of one text, and the window that reads each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from manyheads.data.texts.word_ids import WordTokens


@dataclass(frozen=True, eq=False)
class WordWindows:
    """The words of one text's windows.

    Attributes:
        word_ids: Per window, the number of each token's word among the words of the window, -1 for none.
        words: Per window, its words.
        places: (words,) for each word of the text, its place among the words of all windows, in the one that reads it.
    """

    word_ids: Sequence[list[int]]
    words: Sequence[WordTokens]
    places: np.ndarray


def words_of_windows(held: WordTokens, word_ids: Sequence[list[int]]) -> WordWindows:
    """Return the words of each window of a text.

    Each word is read in the window that contains the most of its tokens, and among these in the one that contains the
    most tokens before the word or after it, whichever are fewer. The text has nothing to see before its first window
    and after its last one.

    Args:
        held: The words of the text that have a token.
        word_ids: Per window, the number of each token's word among these words, -1 for none.
    """
    if len(word_ids) == 1:
        return WordWindows(word_ids, [held], np.arange(len(held)))
    ids = [np.array(window, dtype=np.int64) for window in word_ids]
    found = [np.unique(window[window >= 0]) for window in ids]
    own, first = [], 0
    best, places = np.full(len(held), -1.0), np.zeros(len(held), dtype=np.int64)
    for number, (window, words) in enumerate(zip(ids, found, strict=True)):
        seen = _seen(window, words, number == 0, number == len(ids) - 1)
        better = seen > best[words]
        best[words[better]] = seen[better]
        places[words[better]] = first + np.flatnonzero(better)
        own.append(np.where(window < 0, -1, np.searchsorted(words, window)).tolist())
        first += len(words)
    return WordWindows(own, [held.take(words) for words in found], places)


def _seen(window: np.ndarray, words: np.ndarray, is_first: bool, is_last: bool) -> np.ndarray:
    """Return how well a window reads each of its words (words,): the number of the word's tokens, plus a share of one
    for the tokens around it."""
    tokens = len(window)
    inside = np.flatnonzero(window >= 0)
    order = np.searchsorted(words, window[inside])
    before, after = np.full(len(words), tokens), np.full(len(words), -1)
    np.minimum.at(before, order, inside)
    np.maximum.at(after, order, inside)
    context = np.minimum(tokens if is_first else before, tokens if is_last else tokens - 1 - after)
    seen: np.ndarray = np.bincount(order, minlength=len(words)) + context / (tokens + 1)
    return seen
