"""Label issues of a table: the value that ``mh.label_issues`` returns, and the table that people correct."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from manyheads.data.tables.table import Table
from manyheads.data.tables.writing import check_output, write_output
from manyheads.errors import DataError, listed

_SUGGESTED, _SCORE = "_suggested", "_given_score"


@dataclass(frozen=True)
class LabelIssue:
    """One label that is probably wrong.

    Attributes:
        row: The row's number (from 0) in the table.
        head: The head's name.
        text: The text, or the pair of texts.
        given: The label in the table, or a tuple of labels.
        suggested: The label, or labels, that the other rows suggest.
        score: Probability of the given label by heads trained without the row; of the least probable label in doubt,
            if there are several per row.

    Examples:
        >>> issues = mh.label_issues(model, table, text="note")
        >>> all(issue.given != issue.suggested for issue in issues)
        True
    """

    row: int
    head: str
    text: Any
    given: Any
    suggested: Any
    score: float


class LabelIssues(Sequence[LabelIssue]):
    """Labels of a table that are probably wrong, the least probable first.

    Attributes:
        notes: Sentences for the user.

    Examples:
        >>> issues = mh.label_issues(model, table, text="note")
        >>> issues.save("suspects.csv")
        >>> result = mh.train(model, "suspects.csv", text="note")
    """

    def __init__(self, issues: Sequence[LabelIssue], table: Table, heads: Sequence[str], notes: Sequence[str]) -> None:
        self._issues = sorted(issues, key=lambda issue: (issue.score, issue.row))
        self._table, self._heads = table, tuple(heads)
        self.notes = list(notes)

    def __len__(self) -> int:
        return len(self._issues)

    @overload
    def __getitem__(self, index: int) -> LabelIssue: ...

    @overload
    def __getitem__(self, index: slice) -> list[LabelIssue]: ...

    def __getitem__(self, index: int | slice) -> LabelIssue | list[LabelIssue]:
        return self._issues[index]

    def __iter__(self) -> Iterator[LabelIssue]:
        return iter(self._issues)

    def __repr__(self) -> str:
        return f"LabelIssues({len(self)} of {self._table.rows} rows of {self._table.name}, heads {listed(self._heads)})"

    def to_arrow(self) -> Any:
        """Return the whole table as a ``pyarrow.Table``: first the rows with issues, then all others, in their order.

        Two columns per head are added: ``{head}_suggested`` and ``{head}_given_score``, empty in rows without an issue.

        Raises:
            DataError: the table has such a column.

        Examples:
            >>> mh.label_issues(model, table, text="note").to_arrow().num_rows
            24
        """
        added = {name + ending for name in self._heads for ending in (_SUGGESTED, _SCORE)}
        taken = sorted(added & set(self._table.columns))
        if taken:
            raise DataError(f"{self._table.name}: already has the columns {listed(taken)}; rename or delete them")
        suspected = list(dict.fromkeys(issue.row for issue in self._issues))
        order = np.concatenate([suspected, np.delete(np.arange(self._table.rows), suspected)]).astype(np.int64)
        found = self._table.select(order).to_arrow()
        for name in self._heads:
            own = {issue.row: issue for issue in self._issues if issue.head == name}
            cells = [own.get(row) for row in order.tolist()]
            suggested = [None if issue is None else _as_cell(issue.suggested) for issue in cells]
            scores = [None if issue is None else round(issue.score, 6) for issue in cells]
            found = found.append_column(name + _SUGGESTED, pa.array(suggested, pa.string()))
            found = found.append_column(name + _SCORE, pa.array(scores, pa.float64()))
        return found

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Write the table of ``to_arrow``, to correct the labels in its first rows and to train on.

        Args:
            path: A .csv, .tsv, .jsonl or .parquet file.
            overwrite: Whether to replace the file.

        Raises:
            OutputExistsError: the file exists.
            DataError: an unknown ending, or a folder that does not exist.

        Examples:
            >>> mh.label_issues(model, table, text="note").save("suspects.csv")
        """
        check_output(str(path), overwrite)
        write_output(self.to_arrow(), str(path))


def _as_cell(suggested: Any) -> str:
    """Return a label as it is written in a table; several are joined as ``MultiLabel`` reads them."""
    return "|".join(map(str, suggested)) if isinstance(suggested, tuple) else str(suggested)
