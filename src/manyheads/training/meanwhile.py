"""Train to measure something, and leave the model as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from manyheads.core import HeadedCore
from manyheads.heads import Head
from manyheads.training.dataset import TrainingData
from manyheads.training.method import Method, Outcome
from manyheads.training.tuning.rollback import restored_afterwards


@contextmanager
def trained_meanwhile(
    method: Method, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData
) -> Iterator[Outcome]:
    """Train heads inside the block, which gets the outcome; afterwards the model is as before."""
    with restored_afterwards(core, heads, method.changing(core)):
        yield method.fit(core, heads, data)
