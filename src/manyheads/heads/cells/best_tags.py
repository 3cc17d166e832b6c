"""The most probable valid sequence of BIO tags of each text (Viterbi 1967).

A sequence is valid if every ``I`` follows a ``B`` or an ``I`` of its type. Where two types compete, taking each word's
most probable tag by itself breaks entities apart.
"""

from __future__ import annotations

import numpy as np

from manyheads.heads.ragged import Ragged

# Texts that are decoded together.
_TEXTS = 4096
# Added to a score, it rules a tag out; finite, so that sums stay comparable.
_NEVER = -1e30


def best_tags(scores: Ragged) -> Ragged:
    """Return the tags (words,) of each text, int64, that form a valid sequence with the largest sum of scores.

    Args:
        scores: (words, tags) of each text: logits, or log probabilities, which differ from them by one number per word.
            Tag 0 is ``O``, tags 2k + 1 and 2k + 2 are ``B`` and ``I`` of type k.
    """
    found = np.empty(len(scores.values), dtype=np.int64)
    # Texts of like length together, the longest first: the ones that go on at a position come first.
    order = np.argsort(-scores.lengths, kind="stable")
    for start in range(0, len(order), _TEXTS):
        _decode(scores, order[start : start + _TEXTS], found)
    return Ragged(found, scores.offsets)


def _decode(scores: Ragged, texts: np.ndarray, found: np.ndarray) -> None:
    """Write the best tags of some texts, sorted by decreasing length, into ``found``."""
    lengths, firsts = scores.lengths[texts], scores.offsets[texts]
    words = int(lengths[0]) if len(lengths) else 0
    goes_on = [int((lengths > word).sum()) for word in range(words)]
    totals = np.empty((0, 0))
    before: list[np.ndarray] = []  # at each word the tag of the word before it, for every tag
    for word, count in enumerate(goes_on):
        own = scores.values[firsts[:count] + word].astype(np.float64)
        if word == 0:
            own[:, 2::2] += _NEVER
            totals = own
            continue
        own, tags = _step(totals[:count], own)
        before.append(tags)
        totals = np.concatenate([own, totals[count:]])
    last = totals.argmax(axis=1) if words else np.empty(0, dtype=np.int64)
    for word in reversed(range(words)):
        count = goes_on[word]
        found[firsts[:count] + word] = last[:count]
        if word:
            last[:count] = before[word - 1][np.arange(count), last[:count]]


def _step(totals: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best totals after one more word (texts, tags), and the tag before it in the best sequence.

    Args:
        totals: (texts, tags) of the best sequences that end in each tag.
        own: The word's own scores (texts, tags).
    """
    texts, tags = totals.shape
    best = totals.argmax(axis=1)
    before = np.repeat(best[:, None], tags, axis=1)
    reached = np.repeat(totals[np.arange(texts), best][:, None], tags, axis=1)
    begins, goes_on = totals[:, 1::2], totals[:, 2::2]
    before[:, 2::2] = np.arange(1, tags, 2) + (goes_on > begins)
    reached[:, 2::2] = np.maximum(begins, goes_on)
    return reached + own, before
