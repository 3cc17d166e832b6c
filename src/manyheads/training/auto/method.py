"""The method ``Auto``: compare the others within a time budget, then train with the one that is chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from manyheads.core import HeadedCore
from manyheads.errors import MethodError, listed
from manyheads.heads import Head
from manyheads.heads.base import is_number
from manyheads.training.auto.budget import Budget
from manyheads.training.auto.candidate import Candidate
from manyheads.training.auto.candidates import candidates, name_of
from manyheads.training.auto.comparison import Comparison
from manyheads.training.auto.comparison_rows import MIN_TRAINING_ROWS, for_comparison, untrainable
from manyheads.training.auto.report import sentences
from manyheads.training.dataset import TrainingData
from manyheads.training.method import Method, Outcome


@dataclass(frozen=True)
class Choice:
    """The chosen method, and why.

    Attributes:
        method: The method.
        candidates: A record of every method, in their order.
        notes: Sentences for the user, the first one on the reason.
    """

    method: Method
    candidates: Sequence[Candidate]
    notes: Sequence[str]

    def record(self) -> dict[str, Any]:
        """Return the choice as plain JSON."""
        return {"why": self.notes[0], "candidates": [candidate.record() for candidate in self.candidates]}


@dataclass(frozen=True)
class Auto(Method):
    """Compare the other methods within a time budget, and train with the simplest that is about as good as the best.

    A fifth of the training rows, at most 1,000, is set aside. ``Frozen``, ``Fork`` at two depths, ``LoRA`` and, with
    ``keep_lm=False``, ``Full`` at two learning rates train on the others, one after the other, and are compared on the
    rows set aside, which choose nothing else; evaluation rows are never used. A method's loss is the mean over all
    heads of each head's loss, with its temperature, as a share of the loss of the best constant prediction. The first
    method in this order that is within one standard error of the best is chosen (Breiman et al. 1984, section 3.4.3),
    among those that are clearly worse than ``Frozen`` for no head.

    The chosen method then trains on all training rows, so the result is the same as from training with it alone. The
    time for this is part of the budget: a method does not start, or is stopped after a few steps, if it could not end
    and be trained again in the time left. One of which nothing is known takes at least the time of ``Frozen``. A method
    is also stopped if its weights are clearly behind ``Frozen`` in the middle of its run. If a machine slows down, the
    last training may exceed the budget.

    With fewer than 200 training rows nothing is compared, and ``Frozen`` is used. ``result.candidates`` and
    ``result.notes`` tell the loss and the time of each method, and why others were not tried.

    Args:
        minutes: Time budget.
        keep_lm: Whether every weight of the backbone keeps its bits, with a language model or without one. ``False``
            tries ``Full`` too, which changes the language model and the input of all other heads.

    Raises:
        MethodError: a setting out of its range.

    Examples:
        >>> result = mh.train(model, table, text="note", method=mh.Auto(minutes=1))
        >>> [candidate.name for candidate in result.candidates if candidate.chosen]
        ['Frozen()']
        >>> result.candidates[1].reason
        'not tried: 22 training rows are too few, 200 are needed'
    """

    minutes: float = 10
    keep_lm: bool = True

    def __post_init__(self) -> None:
        if not (is_number(self.minutes) and math.isfinite(self.minutes) and self.minutes > 0):
            raise MethodError(f"Auto: minutes must be a finite number above 0, got {self.minutes!r}")
        if not isinstance(self.keep_lm, bool):
            raise MethodError(f"Auto: keep_lm must be True or False, got {self.keep_lm!r}")

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        """Compare the methods, then train with the chosen one; if it fails, the model is unchanged."""
        choice = self._choice(self._methods(core), core, heads, data)
        outcome = choice.method.fit(core, heads, data)
        return replace(
            outcome,
            notes=(*choice.notes, *outcome.notes),
            record={**outcome.record, **choice.method.describe(), "auto": {**self.describe(), **choice.record()}},
            candidates=tuple(choice.candidates),
        )

    def changing(self, core: HeadedCore) -> Iterable[Tensor]:
        """Return the backbone's own tensors that the chosen method may change."""
        return [tensor for method in self._methods(core) for tensor in method.changing(core)]

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        return {"method": "Auto", "minutes": float(self.minutes), "keep_lm": self.keep_lm}

    def _methods(self, core: HeadedCore) -> list[Method]:
        return candidates(len(core.backbone.facts.widths) - 1, self.keep_lm)

    def _choice(
        self, methods: Sequence[Method], core: HeadedCore, heads: Mapping[str, Head], data: TrainingData
    ) -> Choice:
        """Compare the methods if there are rows to compare them on, and choose one."""
        divided = for_comparison(data)
        if divided is None:
            return _first(methods, f"{len(data.train)} training rows are too few, {MIN_TRAINING_ROWS} are needed")
        unable = untrainable(divided, heads)
        if unable:
            return _first(methods, f"the training rows have too few labels of {listed(unable)}")
        budget = Budget(60 * self.minutes, len(data.train) / len(divided.train))
        comparison = Comparison(core, heads, divided, budget)
        if not comparison.heads:
            return _first(methods, "no row that was set aside has a label")
        comparison.run(methods)
        method, compared = comparison.choose()
        left_out = [name for name in heads if name not in comparison.heads]
        return Choice(method, compared, sentences(compared, len(divided.evaluate), left_out))


def _first(methods: Sequence[Method], reason: str) -> Choice:
    """Return the first method where none can be compared."""
    first, *others = ((name_of(method), method.describe()) for method in methods)
    not_tried = [Candidate(*other, reason=f"not tried: {reason}") for other in others]
    why = f"Auto chose {first[0]} without a comparison: {reason}."
    return Choice(methods[0], [Candidate(*first, chosen=True), *not_tried], [why])
