"""The result of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manyheads.evaluation.lm_check import LMCheck
from manyheads.evaluation.metrics import Metrics
from manyheads.training.fit import Alternative


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """A head's logits of training rows, each row's from weights that were fitted without it.

    Attributes:
        rows: Row numbers (from 0) in ``data``; for a token head, the row of each labelled word.
        logits: fp32 (rows, outputs).
    """

    rows: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class TrainResult:
    """The result of training.

    Attributes:
        metrics: Head name -> metric name -> value, on the evaluation rows.
        rows: Head name -> number of its labelled rows in ``"train"`` and ``"evaluate"``.
        evaluated: Row numbers (from 0) of the evaluation rows, in ``eval_data`` if given, else in ``data``.
        reads: Head name -> its taps, searched or as given.
        chosen: Head name -> its chosen settings.
        search: Head name -> all alternatives that were tried, with their losses on held-out training rows.
        history: Head name -> one record per epoch, for heads trained by gradient steps.
        out_of_fold: Head name -> logits of training rows from weights that were fitted without them.
        lm_check: Whether the backbone's weights, and so its language model, are unchanged bit for bit. They are not if
            tokens were added since the backbone was loaded.
        notes: Sentences for the user.
        seconds: Wall time.
        out: Folder of the saved model, if it was saved.

    Examples:
        >>> result = mh.train(model, table, text="note", eval_fraction=0.25)
        >>> result.rows
        {'urgency': {'train': 18, 'evaluate': 6}}
    """

    metrics: dict[str, Metrics]
    rows: dict[str, dict[str, int]]
    evaluated: list[int]
    reads: dict[str, str]
    chosen: dict[str, dict[str, float]]
    search: dict[str, list[Alternative]]
    history: dict[str, list[dict[str, float]]]
    out_of_fold: dict[str, OutOfFold]
    lm_check: LMCheck
    notes: list[str]
    seconds: float
    out: Path | None = field(default=None)
