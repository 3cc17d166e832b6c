"""How a head turns scores into an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from manyheads.errors import HeadError

# A label is predicted from this probability on, unless its decision has a threshold of its own.
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Decision:
    """How a head turns scores into an answer. It never changes logits or scores.

    Training sets it; assign another one to ``model.heads[name].decision`` to decide otherwise.

    Args:
        thresholds: For a head with several labels per text, the probability from which on each label is predicted, in
            the order of the labels; ``None`` for 0.5 for all.

    Raises:
        HeadError: a threshold that is not a number between 0 and 1.

    Examples:
        >>> head = model.add_head("symptoms", mh.MultiLabel(labels=["pain", "fever", "cough"]))
        >>> head.decision = mh.Decision(thresholds=[0.3, 0.5, 0.2])
        >>> head.decision.thresholds
        (0.3, 0.5, 0.2)
    """

    thresholds: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if self.thresholds is None:
            return
        given: object = self.thresholds
        if not isinstance(given, list | tuple) or not all(map(_is_probability, given)):
            raise HeadError(f"Decision: thresholds must be a list of numbers from 0 to 1, or None, got {given!r}")
        object.__setattr__(self, "thresholds", tuple(float(item) for item in given))


NEUTRAL = Decision()


def with_new_labels(decision: Decision, count: int) -> Decision:
    """Return a decision for so many labels more, with the default threshold."""
    if decision.thresholds is None:
        return decision
    return replace(decision, thresholds=[*decision.thresholds, *[DEFAULT_THRESHOLD] * count])


def _is_probability(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
