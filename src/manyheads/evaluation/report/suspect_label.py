"""A label that is probably wrong, as a page shows it."""

from __future__ import annotations

from typing import Any, Protocol


class SuspectLabel(Protocol):
    """A label that is probably wrong; ``label_issues`` returns such values."""

    @property
    def row(self) -> int:
        """The row's number (from 0) in its table."""

    @property
    def head(self) -> str:
        """The head's name."""

    @property
    def text(self) -> Any:
        """The text, or the pair of texts."""

    @property
    def given(self) -> Any:
        """The label in the table, or a tuple of labels."""

    @property
    def suggested(self) -> Any:
        """The label, or labels, that other rows suggest."""

    @property
    def score(self) -> float:
        """Probability of the given label."""
