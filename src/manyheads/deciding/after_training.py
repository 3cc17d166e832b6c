"""The decision that a head gets at the end of its training."""

from __future__ import annotations

from dataclasses import dataclass

from manyheads.deciding.held_out import HeldOut
from manyheads.deciding.temperature import TemperatureFit, fit_temperature, fit_temperature_beside
from manyheads.deciding.thresholds import fit_thresholds
from manyheads.heads import Decision, HeadSpec


@dataclass(frozen=True, eq=False)
class Reference:
    """A similar head, whose decision was fitted to more items.

    Attributes:
        held_out: The items that a decision is fitted to, with the logits of this head.
        decision: Its decision.
    """

    held_out: HeldOut
    decision: Decision


def decide(
    spec: HeadSpec, held_out: HeldOut, before: Decision, seed: int = 0, reference: Reference | None = None
) -> tuple[Decision, TemperatureFit | None]:
    """Return a head's decision: its temperature, then thresholds for the calibrated scores, both fitted to held-out
    items, and the costs that it had. Abstention and prediction sets belong to the scores before training and are left
    out.

    Args:
        spec: The head's spec.
        held_out: Items that its new weights were not trained on; may be none.
        before: The decision before training.
        seed: Of the folds.
        reference: A similar head that the temperature is measured against, if there is one.

    Returns:
        The decision, and how its temperature was found, ``None`` for a head without probabilities.
    """
    if reference is None:
        fit = fit_temperature(spec, held_out, seed)
    else:
        fit = fit_temperature_beside(spec, held_out, reference.held_out, reference.decision.temperature, seed)
    calibrated = Decision(temperature=1.0 if fit is None else fit.temperature, costs=before.costs)
    return fit_thresholds(spec, held_out, calibrated), fit
