"""Score a block of rows of an uploaded table."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from manyheads.inference import Scorer
from manyheads.inference.settings import ScoringSettings
from manyheads.scoring.row_answers import AnswerSettings, columns_of, predict_with
from manyheads.server.engine.work import Work
from manyheads.server.served import Served


@dataclass(frozen=True, eq=False)
class TableModel:
    """What answers a table: one model from its first row to its last, also while another one is loaded.

    Attributes:
        served: The model.
        heads: Names of the heads.
        text: The column of texts, or two for pairs.
        long_text: What becomes of a text beyond the limit.
    """

    served: Served
    heads: Sequence[str]
    text: Sequence[str]
    long_text: str

    def scorer(self, current: Served) -> Scorer:
        """Return what answers texts: the scorer of the engine's current model while that is this one, for it pauses."""
        return current.scorer if current.fingerprint == self.served.fingerprint else self.served.scorer

    @property
    def settings(self) -> ScoringSettings:
        """How texts are scored."""
        return replace(self.served.scorer.settings, long_text=self.long_text)


@dataclass(frozen=True, eq=False)
class ColumnsWork(Work[pa.Schema]):
    """The names and types of the columns that are added to a table.

    Attributes:
        model: What answers.
    """

    model: TableModel

    @property
    def group(self) -> Hashable:
        """It is computed alone."""
        return id(self)

    @property
    def size(self) -> int:
        """It predicts one empty text."""
        return 1

    def run(self, served: Served, others: Sequence[Work[pa.Schema]]) -> list[pa.Schema | Exception]:
        """Find the columns."""
        predict = predict_with(self.model.scorer(served), self.model.heads)
        return [columns_of(predict, len(self.model.text) == 2, all_scores=False)]


@dataclass(frozen=True, eq=False)
class TableWork(Work[pa.Table]):
    """Rows to score.

    Attributes:
        model: What answers.
        columns: The names and types of the added columns.
        listed: Whether the texts are lists of words written as text.
        table: The rows, with ``ERROR_COLUMN``.
        tokens: About how many tokens they have.
    """

    model: TableModel
    columns: pa.Schema
    listed: bool
    table: pa.Table
    tokens: int

    @property
    def group(self) -> Hashable:
        """It is computed alone, so that the scores of a table do not depend on other requests."""
        return id(self)

    @property
    def size(self) -> int:
        """About how many tokens it has."""
        return max(1, self.tokens)

    @property
    def rows(self) -> int:
        """How many rows it has."""
        return int(self.table.num_rows)

    def run(self, served: Served, others: Sequence[Work[pa.Table]]) -> list[pa.Table | Exception]:
        """Score the rows; one that cannot be answered has the reason in the column ``error``."""
        model = self.model
        settings = AnswerSettings(model.heads, model.text, model.settings, self.listed, self.columns, all_scores=False)
        return [settings.answers(model.scorer(served))(self.table)]
