"""A label that is probably wrong, as a page shows it."""

from __future__ import annotations

from typing import Any, Protocol


class SuspectLabel(Protocol):
    """A label that is probably wrong; ``label_issues`` returns such values.

    Attributes:
        row: The row's number (from 0) in its table.
        head: The head's name.
        text: The text, or the pair of texts.
        given: The label in the table, or a tuple of labels.
        suggested: The label, or labels, that other rows suggest.
        score: Probability of the given label.
    """

    @property
    def row(self) -> int: ...

    @property
    def head(self) -> str: ...

    @property
    def text(self) -> Any: ...

    @property
    def given(self) -> Any: ...

    @property
    def suggested(self) -> Any: ...

    @property
    def score(self) -> float: ...
