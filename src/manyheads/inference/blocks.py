"""Many texts a block at a time, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from manyheads.data.texts.texts import Texts, read_texts_from_list
from manyheads.inference.predictions import Predictions
from manyheads.runtime.progress import quietly
from manyheads.types import Prediction

# Rows, and about how many tokens, whose features are in memory together.
_CHUNK = 16_384
_CHUNK_TOKENS = 1 << 20
# Rows of a stream that are scored together; sorted by length, they leave little padding.
_STREAMED = 2_048

Prepared = TypeVar("Prepared")


def row_blocks(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the numbers of the rows that are in memory together, in order.

    Args:
        lengths: Tokens per row (rows,), integers.
    """
    ends, start = np.cumsum(lengths), 0
    while start < len(lengths):
        before = ends[start] - lengths[start]
        within = int(np.searchsorted(ends, before + _CHUNK_TOKENS, side="right"))
        end = min(max(within, start + 1), start + _CHUNK)
        yield np.arange(start, end)
        start = end


def stream_predictions(
    items: Iterable[object],
    prepare: Callable[[Texts, Sequence[str]], Prepared],
    predict: Callable[[Prepared], Predictions],
) -> Iterator[Mapping[str, Prediction]]:
    """Yield the predictions of texts in order; the next texts are prepared in a thread of their own meanwhile.

    Args:
        items: Texts, in the form of a list that ``read_texts_from_list`` takes; read as needed.
        prepare: Takes texts and the place of each, for messages; returns what ``predict`` takes.
        predict: Returns their predictions.

    Raises:
        TextError: an item that is no text, after the predictions of the texts before its block of 2,048.
    """

    def prepare_block(block: list[object], first: int) -> Prepared:
        with quietly():
            where = [f"The list of texts, row {row}" for row in range(first, first + len(block))]
            return prepare(read_texts_from_list(block, first), where)

    with ThreadPoolExecutor(1, thread_name_prefix="manyheads-tokenize") as worker:
        blocks = (worker.submit(prepare_block, *block) for block in _blocks(items))
        following = next(blocks, None)
        while following is not None:
            prepared, following = following.result(), next(blocks, None)
            with quietly():
                predictions = predict(prepared)
            yield from predictions


def _blocks(items: Iterable[object]) -> Iterator[tuple[list[object], int]]:
    """Yield the items of a stream in blocks, each with the number of its first item from 1."""
    remaining, first = iter(items), 1
    while block := list(islice(remaining, _STREAMED)):
        yield block, first
        first += len(block)
