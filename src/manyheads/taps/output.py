"""The output tap: what another head says, for heads that stand on each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from manyheads.errors import HeadError
from manyheads.taps.base import Reader, Tap
from manyheads.types import BackboneFacts, Request, States


@dataclass(frozen=True)
class Output(Tap):
    """Read another head's probabilities, one per label, or its value; gradients stop there.

    Both heads share the backbone's one pass. The other head must be there before the one that reads it, so that no two
    can read each other; usually hidden states are read too: ``reads=[Hidden(), Output("job_type")]``.

    ``Frozen`` fits the other head first. Where it solves both in one run, the reading head learns from what the other
    says of rows that its weights did not see (stacked generalisation, Wolpert 1992), so as to trust it no more than new
    texts will warrant. It learns from what the other says plainly of rows that carry no label of it, and of all rows
    where it was trained before, or is stepped (hidden layers, attention, a mix).

    Args:
        head: The other head's name.
        scores: How many numbers it says; adding the head decides.

    Raises:
        HeadError: no name, or not a positive number.
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
        """Return itself: it is of heads, and of no backbone."""
        return self

    def request(self, facts: BackboneFacts) -> Request:
        """Ask nothing of the backbone."""
        return Request()

    def read(self, states: States) -> NoReturn:
        """Refuse: no pass yields it; :class:`manyheads.heads.HeadCollection` does."""
        raise HeadError(f"Output: what {self.head!r} says is no state of the backbone; evaluate that head")

    def width(self, facts: BackboneFacts) -> int:
        """Return the number of scores."""
        assert self.scores is not None
        return self.scores

    def reader(self, facts: BackboneFacts) -> Reader:
        """Return one that passes them on."""
        return Reader()
