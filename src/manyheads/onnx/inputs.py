"""The inputs of a graph for some rows; see ``onnx.layout`` for their names and shapes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from manyheads.data.texts.tokenize import Tokenized
from manyheads.onnx.bags import Bags
from manyheads.onnx.layout import Layout
from manyheads.onnx.passes import rows_by_pass


class Inputs:
    """The inputs of a graph for some rows.

    Args:
        layout: What stands beside the graph.
        bags: The bags of terms that heads read.
        tokenized: The rows.
        read: The passes that heads read.

    Attributes:
        lengths: Tokens of each row in each pass, int64 (rows, passes).
    """

    def __init__(self, layout: Layout, bags: Bags, tokenized: Tokenized, read: Collection[int]) -> None:
        self._layout = layout
        self._bags = bags
        self._tokenized = tokenized
        self._passes = rows_by_pass(layout, tokenized.inputs["input_ids"], read)
        self._reads_texts = 0 in read
        self.lengths = np.array([[len(row) for row in rows] for rows in self._passes], dtype=np.int64).T

    def of(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the inputs of some rows by name."""
        inputs: dict[str, np.ndarray] = {}
        for number, ids in enumerate(self._passes):
            suffix = f"_{number}" if number else ""
            inputs[f"input_ids{suffix}"] = padded([ids[row] for row in rows], self._layout.pad)
            inputs[f"attention_mask{suffix}"] = mask_of(self.lengths[rows, number])
        shape = inputs["input_ids"].shape
        inputs["token_type_ids"] = self._column("token_type_ids", rows, 0, shape)
        inputs["word_ids"] = self._column("word_ids", rows, -1, shape)
        # No size of an array is 0, which not every operator computes with.
        inputs["word_numbers"] = np.arange(max(int(inputs["word_ids"].max()) + 1, 1))
        return inputs | self._bags_of(rows)

    def _column(self, name: str, rows: np.ndarray, filler: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return what belongs to each token of the texts; the filler for all, if the texts are not read."""
        values = self._tokenized.inputs.get(name)
        if values is None or not self._reads_texts:
            return np.full(shape, filler, dtype=np.int64)
        return padded([values[row] for row in rows], filler)

    def _bags_of(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        if not self._bags.columns:
            return {}
        texts = [self._tokenized.ids(row) for row in rows]
        mask = mask_of(np.array([len(text) for text in texts]))
        return self._bags.inputs(padded(texts, self._layout.pad), mask)


def padded(rows: Sequence[Sequence[int]], filler: int) -> np.ndarray:
    """Return rows of integers as one array, int64 (rows, tokens), filled up on the right."""
    longest = max(len(row) for row in rows)
    return np.array([[*row, *[filler] * (longest - len(row))] for row in rows], dtype=np.int64)


def mask_of(lengths: np.ndarray) -> np.ndarray:
    """Return 1 for the tokens of each row and 0 after them, int64 (rows, tokens)."""
    return (np.arange(int(lengths.max())) < lengths[:, None]).astype(np.int64)
