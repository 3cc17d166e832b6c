"""Join predictions to the table that holds their texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from manyheads.data.tables.table import Table
from manyheads.errors import DataError, listed
from manyheads.inference import Predictions

FLAG_COLUMN = "text_flag"


def _scored(table: Table, predictions: Predictions, all_scores: bool) -> pa.Table:
    scored, added = table.to_arrow(), predictions.to_arrow(all_scores)
    flags = _flags(predictions)
    if any(flag is not None for flag in flags):
        added = added.append_column(FLAG_COLUMN, pa.array(flags, pa.string()))
    taken = sorted(set(scored.column_names) & set(added.column_names))
    if taken:
        raise DataError(f"{table.name}: has the columns {listed(taken)} already, which the scores need; rename them")
    for name in added.column_names:
        scored = scored.append_column(name, added.column(name))
    return scored


def _flags(predictions: Predictions) -> list[str | None]:
    marks = np.where(predictions.empty, "empty", np.where(predictions.truncated, "truncated", ""))
    return [str(mark) or None for mark in marks]
