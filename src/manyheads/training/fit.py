"""What was tried, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from manyheads.taps import Tap, write_tap

# How an alternative was judged.
HELD_OUT = "held out"
LEAVE_ONE_OUT = "leave one out"


@dataclass(frozen=True)
class Alternative:
    """One alternative that was tried.

    Attributes:
        reads: What the head read in it, layers counted from the end.
        settings: Name -> value.
        loss: How badly it did on training rows that it had not seen; comparable within one ``by``.
        by: ``"held out"``: mean loss of the exact solution on held-out rows; ``"leave one out"``: what a ridge
            solution leaves of the variance, each row by the others (1: nothing learned).
        error: Standard error of its distance from the best alternative, as a share of the variance, where measured.
    """

    reads: tuple[Tap, ...]
    settings: dict[str, float]
    loss: float
    by: str = HELD_OUT
    error: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the trial as plain JSON."""
        taps = [write_tap(tap) for tap in self.reads]
        return {"reads": taps, "settings": self.settings, "loss": self.loss, "by": self.by, "error": self.error}


@dataclass(frozen=True)
class HeadFit:
    """A head's new weights, not yet put into it.

    Attributes:
        state: What the head's ``load_state_dict`` takes.
        settings: The settings chosen.
        trials: Those they were chosen from.
        history: One record per epoch, for what is stepped.
        out_of_fold: fp32 logits (rows, outputs) of the training rows by weights that did not see them, for what is
            fitted on scores later; NaN for rows that no fold held out.
    """

    state: dict[str, Tensor]
    settings: dict[str, float]
    alternatives: list[Alternative]
    history: list[dict[str, float]]
    out_of_fold: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
