"""The result of fitting one head, and the alternatives it was chosen from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from manyheads.deciding.temperature import TemperatureFit
from manyheads.taps import Tap, write_tap

# How an alternative's loss was measured.
HELD_OUT = "held out"
LEAVE_ONE_OUT = "leave one out"


@dataclass(frozen=True)
class Alternative:
    """One combination of taps and settings that was tried.

    Attributes:
        reads: The taps, layers counted from the end.
        settings: Name -> value.
        loss: Loss on training rows that were not fitted on; comparable among alternatives with the same ``by``.
        by: ``"held out"``: mean loss of the exact solution on held-out rows. ``"leave one out"``: error of ridge
            regression, each row predicted from all others and each word from other texts, as a share of the labels'
            variance, or of their entropy for classes (1: nothing explained).
        error: Standard error of the difference from the best alternative, as a share of the variance; ``None`` where
            not measured.
    """

    reads: tuple[Tap, ...]
    settings: dict[str, float]
    loss: float
    by: str = HELD_OUT
    error: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the alternative as plain JSON."""
        taps = [write_tap(tap) for tap in self.reads]
        return {"reads": taps, "settings": self.settings, "loss": self.loss, "by": self.by, "error": self.error}


@dataclass(frozen=True)
class FitResult:
    """New weights for a head, not yet loaded into it.

    Attributes:
        state: State dict for the head's ``load_state_dict``.
        settings: The chosen settings.
        alternatives: Everything that was tried.
        history: One record per epoch, for heads that are trained by steps.
        out_of_fold: Logits of the training rows (rows, outputs) fp32, each row's from weights that were fitted without
            it; NaN for rows that no fold held out. Empty without folds.
        temperature: How its temperature was found; ``None`` for a head without probabilities.
    """

    state: dict[str, Tensor]
    settings: dict[str, float]
    alternatives: list[Alternative]
    history: list[dict[str, float]]
    out_of_fold: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    temperature: TemperatureFit | None = None
