"""What became of the rows of a scored table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Errors that a part's record and a summary show.
FIRST_ERRORS = 3


@dataclass(frozen=True)
class RowError:
    """A row that has an error instead of answers.

    Attributes:
        file: Its file.
        row: Its number there, from 1.
        error: Why.

    Examples:
        >>> summary = mh.Predictor(trained).score_table([{"note": "cough"}, {"note": 5}], folder / "out", text="note")
        >>> summary.first_errors[0].row
        2
    """

    file: str
    row: int
    error: str


@dataclass(frozen=True)
class ScoringSummary:
    """What became of the rows of a scored table.

    Attributes:
        out: Where they are.
        heads: The heads that answered.
        rows: Rows that were written, with answers or an error.
        resumed: Those of them that an earlier run wrote.
        empty: Texts that were empty.
        truncated: Texts that were truncated.
        split: Texts that were read in several windows.
        errors: Rows with an error instead of answers.
        first_errors: The first few of them.
        failures: Files that could not be read, or not to their end, and why.

    Examples:
        >>> summary = mh.Predictor(trained).score_table(table, folder / "scored", text="note")
        >>> summary.rows, summary.errors, summary.failures
        (24, 0, {})
    """

    out: str
    heads: Sequence[str]
    rows: int
    resumed: int
    empty: int
    truncated: int
    split: int
    errors: int
    first_errors: Sequence[RowError]
    failures: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON.

        Examples:
            >>> summary = mh.Predictor(trained).score_table(table, folder / "scored", text="note")
            >>> summary.to_dict()["rows"]
            24
        """
        first = [{"file": one.file, "row": one.row, "error": one.error} for one in self.first_errors]
        return {
            "out": self.out,
            "heads": list(self.heads),
            "rows": self.rows,
            "resumed": self.resumed,
            "empty": self.empty,
            "truncated": self.truncated,
            "split": self.split,
            "errors": self.errors,
            "first_errors": first,
            "failures": dict(self.failures),
        }
