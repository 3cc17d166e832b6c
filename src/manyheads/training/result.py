"""What ``train`` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manyheads.evaluation.lm_check import LMCheck
from manyheads.evaluation.metrics import Metrics
from manyheads.training.fit import Alternative


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What a head says of training rows that it had not seen when it said so.

    Attributes:
        rows: Their numbers (from 0) in ``data``; for a token head, of each labelled word in its order.
        logits: fp32 (rows, outputs).
    """

    rows: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class TrainResult:
    """What training did.

    Attributes:
        metrics: Head name -> metric name -> value, on the evaluation rows.
        rows: Head name -> number of labelled rows it trained on and was evaluated on.
        evaluated: Numbers (from 0) of the evaluation rows, in ``eval_data`` or, held out, in ``data``.
        reads: Head name -> what it reads, as chosen or as asked for.
        chosen: Head name -> the settings it was fitted with.
        search: Head name -> what was tried, and how well each did on training rows that it had not seen.
        history: Head name -> one record per epoch, for heads that are stepped.
        out_of_fold: Head name -> scores of training rows by weights that did not see them.
        lm_check: Whether the backbone, and so its language model, is what it was, bit for bit; one that was taught
            words since it was loaded is not.
        notes: What a person should know, one sentence each.
        seconds: Wall time.
        out: Where the model was saved, if it was.
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
