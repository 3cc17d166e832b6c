"""Predict rows in as few parts as possible, so that a row that cannot be answered costs no other row its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from manyheads.data.texts.texts import Texts
from manyheads.errors import BackboneError, DataError, InputError, ManyheadsError
from manyheads.inference.predictions import Predictions

# Texts to their predictions, in the same order.
Predict = Callable[[Texts], Predictions]


def answers_by_part(predict: Predict, texts: Texts) -> Iterator[tuple[np.ndarray, Predictions | ManyheadsError]]:
    """Yield the predictions of rows, in as few parts as the rows that cannot be answered leave, and their errors.

    A part that fails is halved until the failing rows are alone.

    Args:
        predict: Predicts texts.
        texts: The texts.

    Yields:
        The numbers of the rows, and their predictions or, for a single row, its error.

    Raises:
        BackboneError: a backbone that answers no row at all.
    """
    failed: list[ManyheadsError] = []
    rows = np.arange(len(texts))
    waiting = [rows] if len(rows) else []
    while waiting:
        some = waiting.pop()
        try:
            yield some, predict(texts if len(some) == len(texts) else texts.part(some))
        except (BackboneError, InputError, DataError) as error:
            if len(some) > 1:
                waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
                continue
            failed.append(error)
            if len(rows) > 1 and len(failed) == len(rows) and isinstance(error, BackboneError):
                raise
            yield some, error
