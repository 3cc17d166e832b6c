"""The output tap: the scores of another head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from torch import Tensor

from manyheads.errors import HeadError
from manyheads.taps.base import Reader, Tap
from manyheads.types import BackboneFacts

Scores = TypeVar("Scores", np.ndarray, Tensor)


@dataclass(frozen=True)
class Output(Tap):
    """Read another head's scores: its probabilities, one per label, or its value. Gradients stop there.

    Both heads share the backbone's one pass. The other head must be added first. Hidden states are usually read too:
    ``reads=[Hidden(), Output("job_type")]``.

    ``Frozen`` fits the other head first. If it solves both heads in one run, the second head trains on out-of-fold
    scores of the first (stacked generalization, Wolpert 1992), which are about as reliable as scores of new texts. It
    trains on ordinary scores for rows without a label of the other head, and for all rows if the other head was trained
    before or is trained by gradient steps (hidden layers, attention, a mix of layers).

    Args:
        head: Name of the other head.
        scores: Number of its scores to read, the first ones; set when the head is added. A label that the other head
            gets later is read from this head's next training on.

    Raises:
        HeadError: no name, or a number that is not positive.

    Examples:
        >>> spec = mh.Regression(reads=[mh.Hidden(), mh.Output("urgency")])
        >>> model.add_head("age", spec).reads_heads
        ('urgency',)
    """

    kind: ClassVar[str] = "output"

    head: str
    scores: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.head, str) or not self.head:
            raise HeadError(f"Output: takes the name of the head to read, got {self.head!r}")
        number = isinstance(self.scores, int) and not isinstance(self.scores, bool) and self.scores > 0
        if not (self.scores is None or number):
            raise HeadError(f"Output: scores must be a positive whole number or None, got {self.scores!r}")

    def resolve(self, facts: BackboneFacts) -> Output:
        """Return the tap unchanged: it does not depend on a backbone."""
        return self

    def width(self, facts: BackboneFacts) -> int:
        """Return the number of scores."""
        assert self.scores is not None
        return self.scores

    def read(self, scores: Scores) -> Scores:
        """Return the scores that are read, (rows, scores), of all scores of the other head (rows, score_width)."""
        return scores[:, : self.scores]

    def reader(self, facts: BackboneFacts) -> Reader:
        """Return a reader that returns the scores unchanged."""
        return Reader()
