"""What was tried, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
        settings: Name -> value.
        loss: Mean loss on held-out training rows.
    """

    settings: dict[str, float]
    loss: float


@dataclass(frozen=True)
class Fit:
    """A head's new weights, not yet put into it.

    Attributes:
        state: What the head's ``load_state_dict`` takes.
        settings: The settings chosen.
        trials: Those they were chosen from.
        history: One record per epoch, for what is stepped.
    """

    state: dict[str, Tensor]
    settings: dict[str, float]
    trials: list[Trial]
    history: list[dict[str, float]]
