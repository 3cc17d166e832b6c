"""What a decision should promise, as asked for, checked before any text is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manyheads.deciding.promises.label_thresholds import RULES
from manyheads.errors import HeadError, did_you_mean, listed
from manyheads.heads import HeadSpec
from manyheads.heads.abstention import ABSTENTION_SCORES
from manyheads.heads.base import is_number
from manyheads.heads.prediction_sets import SET_SCORES

# The setting of a decision that each goal fits.
_SETTINGS = {
    "max_error": "abstain_below",
    "answered": "abstain_below",
    "set_coverage": "set_threshold",
    "thresholds": "thresholds",
    "costs": "costs",
}


@dataclass(frozen=True)
class Goals:
    """The goals of ``fit_decision``, whose arguments they are.

    Raises:
        HeadError: no goal, goals that contradict each other, or one out of its range.
    """

    max_error: float | None = None
    confidence: float | None = None
    answered: float | None = None
    abstain_by: str = "entropy"
    set_coverage: float | None = None
    set_by: str = "lac"
    thresholds: str | Mapping[str, float] | None = None
    costs: Any = None

    def __post_init__(self) -> None:
        if not self.asked:
            raise HeadError(f"A decision needs a goal; give one of {listed(_SETTINGS)}")
        for name in ("max_error", "confidence", "answered", "set_coverage"):
            value = getattr(self, name)
            if value is not None and not _is_between(value):
                raise HeadError(f"{name} must be a number between 0 and 1, got {value!r:.80}")
        if self.max_error is not None and self.answered is not None:
            raise HeadError("max_error and answered both say when to abstain; give one of them")
        if self.confidence is not None and self.max_error is None:
            raise HeadError("confidence is that of max_error; give max_error too, or leave confidence out")
        _check_name("abstain_by", self.abstain_by, tuple(ABSTENTION_SCORES))
        _check_name("set_by", self.set_by, tuple(SET_SCORES))
        _check_thresholds(self.thresholds)

    @property
    def asked(self) -> list[str]:
        """The names of the goals that were given."""
        return [name for name in _SETTINGS if getattr(self, name) is not None]

    def check_kind(self, spec: HeadSpec, owner: str) -> None:
        """Check that a head of this kind can have these goals.

        Raises:
            HeadError: it cannot.
        """
        for name in self.asked:
            if _SETTINGS[name] not in spec.decided_by:
                possible = [goal for goal, setting in _SETTINGS.items() if setting in spec.decided_by]
                raise HeadError(f"{owner}: {spec.owner} has no {name}; its goals are: {listed(possible)}")


def _is_between(value: object) -> bool:
    return is_number(value) and 0 < value < 1  # type: ignore[operator]


def _check_name(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise HeadError(f"{name} {value!r:.80} is not among {listed(known)}{did_you_mean(value, known)}")


def _check_thresholds(thresholds: object) -> None:
    if thresholds is None or thresholds == "f1":
        return
    if isinstance(thresholds, Mapping) and len(thresholds) == 1:
        ((name, share),) = thresholds.items()
        if name in RULES and _is_between(share):
            return
    raise HeadError(
        "thresholds must be 'f1', or 'precision' or 'recall' with a number between 0 and 1, such as "
        f"{{'precision': 0.9}}, got {thresholds!r:.80}"
    )
