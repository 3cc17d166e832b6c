"""How a head turns scores into an answer."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from manyheads.errors import HeadError, did_you_mean, listed
from manyheads.heads.abstention import ABSTENTION_SCORES
from manyheads.heads.prediction_sets import SET_SCORES

# A label is predicted from this probability on, unless its decision has a threshold of its own.
DEFAULT_THRESHOLD = 0.5

# Promise -> the setting that it belongs to.
_PROMISED_WITH = {"max_error": "abstain_below", "confidence": "max_error", "set_coverage": "set_threshold"}


@dataclass(frozen=True, kw_only=True, repr=False)
class Decision:
    """How a head turns logits into scores and scores into an answer. It never changes logits.

    Training sets it; assign another one to ``model.heads[name].decision`` to decide otherwise. Without any setting,
    scores are those of the logits as they are, and the answer is the label that they favor.

    Args:
        temperature: Scores are those of the logits divided by it (temperature scaling, Guo et al. 2017): above 1 they
            are less sure. It changes no label, unless costs decide.
        thresholds: For a head with several labels per text, the score from which on each label is predicted, in the
            order of the labels; ``None`` for 0.5 for all.
        abstain_below: A prediction with an abstention score below this is marked as abstained; ``None`` for never.
        abstain_by: The abstention score, from 0 to 1: ``"entropy"``, 1 minus the entropy of the scores as a share of
            the largest possible one, or ``"probability"``, the largest score.
        max_error: The largest share of wrong answers, as promised with ``abstain_below``.
        confidence: The share of draws of the rows it was fitted to in which ``max_error`` holds, as promised with it;
            ``None`` if it holds on average.
        set_threshold: The largest conformity score, from 0 to 1, of the labels in a prediction set; ``None`` for no
            sets.
        set_by: The conformity score: ``"lac"``, 1 minus the label's score (Sadinle et al. 2019), or ``"aps"``, the sum
            of the scores from the largest to the label's (Romano et al. 2020). That of the predicted label is 0.
        set_coverage: The share of sets that contain the right label, as promised with ``set_threshold``.
        costs: The cost of each answer (labels, labels), in the order of the labels: a row per right label, a column per
            predicted one. The label with the least expected cost is predicted. ``None`` for no costs.

    Raises:
        HeadError: a setting out of its range.

    Examples:
        >>> head = model.add_head("symptoms", mh.MultiLabel(labels=["pain", "fever", "cough"]))
        >>> head.decision = mh.Decision(temperature=1.5, thresholds=[0.3, 0.5, 0.2])
        >>> head.decision
        Decision(temperature=1.5, thresholds=(0.3, 0.5, 0.2))
    """

    temperature: float = 1.0
    thresholds: Sequence[float] | None = None
    abstain_below: float | None = None
    abstain_by: str = "entropy"
    max_error: float | None = None
    confidence: float | None = None
    set_threshold: float | None = None
    set_by: str = "lac"
    set_coverage: float | None = None
    costs: Sequence[Sequence[float]] | None = None

    def __post_init__(self) -> None:
        self._check("temperature", _is_number(self.temperature) and self.temperature > 0, "a finite number above 0")
        numbers = "a list of numbers from 0 to 1, or None"
        self._check("thresholds", self.thresholds is None or _are(_is_share, self.thresholds), numbers)
        below = self.abstain_below
        self._check("abstain_below", below is None or _is_number(below), "a finite number, or None")
        self._check_name("abstain_by", tuple(ABSTENTION_SCORES))
        limit = self.set_threshold
        self._check("set_threshold", limit is None or _is_share(limit), "a number from 0 to 1, or None")
        self._check_name("set_by", tuple(SET_SCORES))
        for name, needed in _PROMISED_WITH.items():
            promise = getattr(self, name)
            between = promise is None or (_is_share(promise) and 0 < promise < 1)
            self._check(name, between, "a number between 0 and 1, or None")
            if promise is not None and getattr(self, needed) is None:
                raise HeadError(f"Decision: {name} is promised with {needed}; give that too, or leave it out")
        self._check("costs", self.costs is None or _is_square(self.costs), "a square of finite numbers, or None")
        for item in fields(self):
            object.__setattr__(self, item.name, _as_floats(getattr(self, item.name)))

    def __repr__(self) -> str:
        return f"Decision({', '.join(f'{name}={getattr(self, name)!r}' for name in self.settings)})"

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the settings that differ from their defaults.

        Examples:
            >>> mh.Decision(temperature=1.5).settings
            ('temperature',)
        """
        return tuple(item.name for item in fields(self) if getattr(self, item.name) != item.default)

    def with_temperature(self, temperature: float) -> Decision:
        """Return the decision with another temperature that predicts the same labels.

        Thresholds move with the scores: ``t`` becomes ``t^r / (t^r + (1 - t)^r)`` with ``r = old / new temperature``.
        Abstention and prediction sets were fitted to the scores of the old one and are left out.

        Args:
            temperature: The new one.

        Examples:
            >>> mh.Decision(thresholds=[0.2, 0.5]).with_temperature(2)
            Decision(temperature=2.0, thresholds=(0.3333333333333333, 0.5))
        """
        ratio = self.temperature / Decision(temperature=temperature).temperature
        moved = None if self.thresholds is None else [_moved(threshold, ratio) for threshold in self.thresholds]
        return Decision(temperature=temperature, thresholds=moved, costs=self.costs)

    def _check(self, name: str, good: bool, rule: str) -> None:
        if not good:
            raise HeadError(f"Decision: {name} must be {rule}, got {getattr(self, name)!r:.200}")

    def _check_name(self, name: str, known: Sequence[str]) -> None:
        value: object = getattr(self, name)
        if value not in known:
            raise HeadError(f"Decision: {name} {value!r} is not among {listed(known)}{did_you_mean(value, known)}")


def _moved(threshold: float, ratio: float) -> float:
    """Return the sigmoid of ``ratio`` times the threshold's logit."""
    yes, no = math.pow(threshold, ratio), math.pow(1 - threshold, ratio)
    return yes / (yes + no)


def _are(is_good: Callable[[object], bool], values: object) -> bool:
    return isinstance(values, list | tuple) and all(map(is_good, values))


def _is_square(rows: object) -> bool:
    return bool(rows) and _are(lambda row: _are(_is_number, row) and len(row) == len(rows), rows)  # type: ignore


def _as_floats(values: Any) -> Any:
    """Return whole numbers as floats and lists as tuples."""
    if isinstance(values, list | tuple):
        return tuple(map(_as_floats, values))
    return float(values) if isinstance(values, int) else values


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_share(value: object) -> bool:
    return _is_number(value) and 0 <= value <= 1  # type: ignore[operator]


NEUTRAL = Decision()


def with_new_labels(decision: Decision, count: int) -> Decision:
    """Return a decision for so many labels more, with the default threshold and the largest of the costs."""
    thresholds, costs = decision.thresholds, decision.costs
    if thresholds is not None:
        thresholds = [*thresholds, *[DEFAULT_THRESHOLD] * count]
    if costs is not None:
        known = np.array(costs)
        wider = np.pad(known, (0, count), constant_values=known.max())
        wider[range(len(known), len(wider)), range(len(known), len(wider))] = known.diagonal().min()
        costs = wider.tolist()
    return replace(decision, thresholds=thresholds, costs=costs)
