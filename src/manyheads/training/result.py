"""The result of ``train``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manyheads.evaluation.lm_check import LMCheck
from manyheads.evaluation.metrics import Metrics
from manyheads.training.fit import Alternative


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Logits of training rows from weights that were fitted without them.

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
        rows: Head name -> numbers of labelled training and evaluation rows.
        evaluated: Row numbers (from 0) of the evaluation rows, in ``eval_data`` or, if held out, in ``data``.
        reads: Head name -> its taps, as chosen or as given.
        chosen: Head name -> the settings of its fit.
        search: Head name -> the alternatives tried, with their loss on training rows that each had not seen.
        history: Head name -> one record per epoch, for heads trained by gradient steps.
        out_of_fold: Head name -> logits of training rows from weights that were fitted without them.
        lm_check: Whether the backbone, and so its language model, is bit-identical to the one before training.
        notes: Sentences for the user.
        seconds: Wall time.
        out: The folder of the saved model, or ``None``.

    Examples:
        >>> result = mh.train(model, table, text="note", eval_fraction=0.25)
        >>> result.rows["urgency"]
        {'train': 18, 'evaluate': 6}
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
