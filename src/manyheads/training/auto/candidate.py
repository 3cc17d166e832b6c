"""The record of one method that ``Auto`` compared, or did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """One method that ``Auto`` compared, or did not.

    Attributes:
        name: The method with its main settings.
        settings: All of its settings, as plain JSON.
        chosen: Whether it was chosen.
        reason: Why it was not tried, not finished or not eligible; empty otherwise.
        loss: Mean loss on the comparison rows, each head's as a share of the loss of the best constant prediction, over
            all heads; ``None`` where it was not measured.
        error: Standard error of ``loss``.
        excess: Difference between ``loss`` and the least loss of all candidates.
        excess_error: Standard error of ``excess``, row by row.
        losses: Head name -> its mean loss there as in training, such as the log loss.
        seconds: Wall time spent on it.
    """

    name: str
    settings: Mapping[str, Any]
    chosen: bool = False
    reason: str = ""
    loss: float | None = None
    error: float | None = None
    excess: float | None = None
    excess_error: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def record(self) -> dict[str, Any]:
        """Return the candidate as plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return one line: the loss, the time, and the reason if there is one."""
        loss = "" if self.loss is None or self.error is None else f"loss {self.loss:.4f} ± {self.error:.4f}, "
        spent = f"{self.seconds:.0f} s" if self.seconds else ""
        after = f"{loss}{spent}".removesuffix(", ")
        return f"{self.name}: {'; '.join(part for part in (after, self.reason) if part)}"
