"""What became of a reload."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reload:
    """What became of a reload.

    Attributes:
        fingerprint: The model that answers now.
        error_type: Class of the error that left the old model in place; ``None`` if there was none.
        reason: Its message.
        expected: Whether the saved model was at fault, and not this program or the machine.
    """

    fingerprint: str
    error_type: str | None = None
    reason: str | None = None
    expected: bool = True
