"""The method ``Auto``: compare the others within a time budget, then train with the one that is chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
class Auto(Method):
    """Compare the other methods within a time budget, and train with the simplest that is about as good as the best.

    A fifth of the training rows, at most 1,000, is set aside. ``Frozen``, ``Fork`` at two depths and two learning
    rates, ``LoRA`` and, with ``keep_lm=False``, ``Full`` train on the others, one after the other, and are compared on
    the rows set aside, which choose nothing else; evaluation rows are never used. A method's loss is the mean over all
    heads of each head's loss, as a share of the loss of the best constant prediction. The first method in this order
    that is within one standard error of the best is chosen (Breiman et al. 1984, section 3.4.3), among those that are
    clearly worse than ``Frozen`` for no head.

    The chosen method then trains on all training rows, so the result is the same as from training with it alone. The
    time for this is part of the budget: a method does not start, or is stopped after a few steps, if it could not end
    and be trained again in the time left. A method is also stopped if its weights are clearly behind ``Frozen``
    in the middle of its run. If a machine slows down, the last training may exceed the budget.

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
        methods = candidates(len(core.backbone.facts.widths) - 1, self.keep_lm)
        method, compared, notes = self._chosen(methods, core, heads, data)
        outcome = method.fit(core, heads, data)
        record = {"auto": {**self.describe(), "why": notes[0], "candidates": [one.record() for one in compared]}}
        return replace(
            outcome,
            notes=(*notes, *outcome.notes),
            record={**outcome.record, **method.describe(), **record},
            candidates=tuple(compared),
        )

    def describe(self) -> dict[str, Any]:
        """Return the method's name and settings."""
        return {"method": "Auto", "minutes": float(self.minutes), "keep_lm": self.keep_lm}

    def _chosen(
        self, methods: Sequence[Method], core: HeadedCore, heads: Mapping[str, Head], data: TrainingData
    ) -> tuple[Method, list[Candidate], list[str]]:
        """Return the chosen method, a record of all methods, and sentences for the user."""
        divided = for_comparison(data)
        if divided is None:
            return _first(methods, f"{len(data.train)} training rows are too few, {MIN_TRAINING_ROWS} are needed")
        unable = untrainable(divided, heads)
        if unable:
            return _first(methods, f"the training rows have too few labels of {listed(unable)}")
        budget = Budget(60 * self.minutes, len(data.train) / len(divided.train))
        comparison = Comparison(core, heads, divided, budget)
        comparison.run(methods)
        method, compared = comparison.choose()
        return method, compared, sentences(compared, len(divided.evaluate))


def _first(methods: Sequence[Method], reason: str) -> tuple[Method, list[Candidate], list[str]]:
    """Return the first method where none can be compared."""
    names = [(name_of(method), method.describe()) for method in methods]
    chosen = [Candidate(*names[0], chosen=True), *(Candidate(*one, reason=f"not tried: {reason}") for one in names[1:])]
    return methods[0], chosen, [f"Auto chose {names[0][0]} without a comparison: {reason}."]
