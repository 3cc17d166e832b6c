"""Targets of words: those that are read, and rows of words as rows to be solved on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from manyheads.data.texts.tokenize import Tokenized
from manyheads.errors import LabelError
from manyheads.features import FeatureTable
from manyheads.heads import Head
from manyheads.heads.kinds.softmax import MISSING
from manyheads.training.dataset import TrainingData
from manyheads.training.solving.head_rows import HeadRows
from manyheads.types import Features

# Texts whose words are taken from a table at once.
_TEXTS = 256


def stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return targets of several tables as one array; where rows hold words, the shorter ones are filled up."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([_widened(part, width) for part in parts])


def _widened(targets: np.ndarray, width: int) -> np.ndarray:
    missing = np.full((len(targets), width - targets.shape[1]), MISSING, dtype=targets.dtype)
    return np.concatenate([targets, missing], axis=1) if missing.size else targets


def read_words(targets: np.ndarray, tokenized: Tokenized) -> np.ndarray:
    """Return targets (rows, most words) of the words that have a token, in their order; -100 behind them.

    Args:
        targets: Of all words (rows, most words).
        tokenized: The rows.
    """
    assert tokenized.words is not None
    kept = np.full((len(targets), max(map(len, tokenized.words), default=0)), MISSING, dtype=np.int64)
    for row, words in enumerate(tokenized.words):
        # A row without a label was not counted when the array was made.
        known = words.numbers[words.numbers < targets.shape[1]]
        kept[row, : len(known)] = targets[row, known]
    return kept


def check_words_left(source: str, data: TrainingData, heads: Mapping[str, Head]) -> None:
    """Refuse a head none of whose labelled training words has a token.

    Raises:
        LabelError: names the head.
    """
    for name, head in heads.items():
        if head.spec.by_word and not len(data.labelled(name, head)):
            raise LabelError(
                f"{source}: head {name!r}: no labelled word of the training rows has a token: all were cut away; raise "
                "max_length, or shorten the texts"
            )


@dataclass(frozen=True)
class WordTable(FeatureTable):
    """The vectors of single words, of a table that has them by text.

    Attributes:
        table: By text.
        texts: Row of the table for each word (words,).
        words: The word's number in its text (words,).
    """

    table: FeatureTable
    texts: np.ndarray
    words: np.ndarray

    @property
    def by_token(self) -> bool:
        """False: a row is a word."""
        return False

    def take(self, rows: np.ndarray) -> Features:
        """Return (rows, width)."""
        texts, where = np.unique(self.texts[rows], return_inverse=True)
        order = np.argsort(where, kind="stable")
        values = None
        for start in range(0, len(texts), _TEXTS):
            mine = order[np.searchsorted(where[order], start) : np.searchsorted(where[order], start + _TEXTS)]
            found = self.table.take(texts[start : start + _TEXTS]).values
            picked = found[torch.from_numpy(where[mine] - start), torch.from_numpy(self.words[rows[mine]])]
            values = picked.new_empty((len(rows), picked.shape[1])) if values is None else values
            values[torch.from_numpy(mine)] = picked
        assert values is not None, "no words were asked for"
        return Features(values)


def by_words(rows: HeadRows) -> HeadRows:
    """Return a token head's labelled rows as one row per labelled word, which is what its loss is a mean of.

    Words of one text have one text, so that they stay on one side of every split.
    """
    text, word = np.nonzero(rows.targets != MISSING)
    tables = {tap: WordTable(table, rows.places[text], word) for tap, table in rows.tables.items()}
    return replace(
        rows,
        tables=tables,
        places=np.arange(len(text)),
        targets=rows.targets[text, word],
        texts=[rows.texts[row] for row in text],
    )


def word_rows(rows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the row of each labelled word, in the order of :func:`by_words`.

    Args:
        rows: The labelled rows (n,).
        targets: Theirs (n, most words).
    """
    return np.repeat(rows, (targets != MISSING).sum(axis=1))
