"""The decision that a head gets at the end of its training."""

from __future__ import annotations

from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.temperature import TemperatureFit, fit_temperature
from manyheads.deciding.thresholds import fit_thresholds
from manyheads.heads import Decision, HeadSpec


def decide(
    spec: HeadSpec, held_out: HeldOut, before: Decision, seed: int = 0
) -> tuple[Decision, TemperatureFit | None]:
    """Return a head's decision: its temperature, then thresholds for the calibrated scores, both fitted to held-out
    items, and the costs that it had. Abstention and prediction sets belong to the scores before training and are left
    out.

    Args:
        spec: The head's spec.
        held_out: Items that its new weights were not trained on; may be none.
        before: The decision before training.
        seed: Of the folds.

    Returns:
        The decision, and how its temperature was found, ``None`` for a head without probabilities.
    """
    fit = fit_temperature(spec, held_out, seed)
    calibrated = Decision(temperature=1.0 if fit is None else fit.temperature, costs=before.costs)
    return fit_thresholds(spec, held_out, calibrated), fit
