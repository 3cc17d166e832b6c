"""Run a graph over many rows, in batches of rows of like length."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from manyheads.data.batching import Batches
from manyheads.onnx.inputs import Inputs
from manyheads.onnx.session import Session


class Runner:
    """Runs a graph.

    Args:
        session: The graph.
        row_groups: The rows that are computed together, one of ``onnx.layout.ROW_GROUPS``.
        batch_tokens: Tokens per batch, padding included; ``None`` measures the fastest number in the first long run.
    """

    def __init__(self, session: Session, row_groups: str, batch_tokens: int | None) -> None:
        self._session = session
        self._row_groups = row_groups
        self._batch_tokens = batch_tokens

    def run(self, inputs: Inputs, outputs: Sequence[str]) -> Iterator[tuple[np.ndarray, Mapping[str, np.ndarray]]]:
        """Run the graph over rows.

        Args:
            inputs: The rows.
            outputs: Names of outputs.

        Yields:
            The numbers of a batch's rows, and its outputs by name.

        Raises:
            BackboneError: the graph cannot run on them.
        """
        tokens = inputs.lengths.sum(axis=1)
        for group in rows_together(inputs.lengths, self._row_groups):
            batches = Batches(tokens[group], self._batch_tokens)
            for places in batches:
                started = time.perf_counter()
                found = self._session.run(outputs, inputs.of(group[places]))
                batches.took(time.perf_counter() - started)
                yield group[places], dict(zip(outputs, found, strict=True))
            self._batch_tokens = batches.measured


def rows_together(lengths: np.ndarray, row_groups: str) -> Iterator[np.ndarray]:
    """Yield the numbers of rows that are computed together.

    Args:
        lengths: Tokens of each row in each pass (rows, passes).
        row_groups: One of ``onnx.layout.ROW_GROUPS``.
    """
    if row_groups == "all rows":
        yield np.arange(len(lengths))
    elif row_groups == "single rows":
        yield from np.arange(len(lengths))[:, None]
    else:
        order = np.lexsort(lengths.T)
        changes = np.flatnonzero((np.diff(lengths[order], axis=0) != 0).any(axis=1)) + 1
        yield from np.split(order, changes)
