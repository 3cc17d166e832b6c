"""The result of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from manyheads.deciding.temperature import TemperatureFit
from manyheads.errors import UnknownHeadError, did_you_mean, listed
from manyheads.evaluation.lm_check import LMCheck
from manyheads.evaluation.metrics import Metrics
from manyheads.training.auto.candidate import Candidate
from manyheads.training.fit import Alternative
from manyheads.training.mistakes import EvaluatedRows, Mistake


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """A head's logits of training rows, each row's from weights that were fitted without it.

    Attributes:
        rows: Row numbers (from 0) in ``data``; for a token head, the row of each labelled word.
        logits: fp32 (rows, outputs).
    """

    rows: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True, repr=False)
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
        temperature: Head name -> how the temperature of its scores was found, for heads with probabilities.
        out_of_fold: Head name -> logits of training rows from weights that were fitted without them.
        lm_check: Whether the backbone's weights, and so its language model, are unchanged bit for bit. They are not if
            tokens were added since the backbone was loaded.
        notes: Sentences for the user.
        seconds: Wall time.
        out: Folder of the saved model, if it was saved.
        predicted: Head name -> its predictions of the evaluation rows; see ``mistakes``.
        candidates: The methods that ``Auto`` compared or left out, the simplest first; empty for other methods.

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
    temperature: dict[str, TemperatureFit]
    out_of_fold: dict[str, OutOfFold]
    lm_check: LMCheck
    notes: list[str]
    seconds: float
    out: Path | None = field(default=None)
    predicted: Mapping[str, EvaluatedRows] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)

    def __repr__(self) -> str:
        heads = "; ".join(_in_short(name, self.rows[name], values) for name, values in self.metrics.items())
        notes = f"; {len(self.notes)} notes" if self.notes else ""
        return f"TrainResult({heads}{notes}; {self.seconds:.1f} s)"

    def mistakes(self, head: str, most: int = 50) -> list[Mistake]:
        """Return the evaluation rows that a head got wrong, the most confident predictions first.

        Args:
            head: The head's name.
            most: Maximum number of rows.

        Raises:
            UnknownHeadError: no trained head has this name.

        Examples:
            >>> result = mh.train(model, table, text="note", eval_fraction=0.25)
            >>> len(result.mistakes("urgency")) <= result.rows["urgency"]["evaluate"]
            True
        """
        if head not in self.predicted:
            raise UnknownHeadError(
                f"no head {head!r} was trained{did_you_mean(head, self.predicted).rstrip('.')}; trained: "
                f"{listed(self.predicted)}"
            )
        return self.predicted[head].mistakes(most)


def _in_short(name: str, rows: Mapping[str, int], metrics: Metrics) -> str:
    """Return one head's rows and its first metric after their number."""
    shown = [f"{key} {value:.3f}" for key, value in metrics.items() if key != "rows"][:1]
    counts = f"{rows['train']} training and {rows['evaluate']} evaluation rows"
    return f"{name}: {', '.join([*shown, counts])}"
