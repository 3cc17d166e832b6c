"""Join predictions to the table that contains their texts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from manyheads.data.tables.arrays import arrow_array
from manyheads.data.tables.table import read_table
from manyheads.errors import DataError, listed
from manyheads.inference.predictions import Predictions

FLAG_COLUMN = "text_flag"


def score_table(data: object, predictions: Predictions, all_scores: bool = False) -> pa.Table:
    """Return a table with the columns of each head's predictions after its own columns.

    Args:
        data: The table of the texts; any kind that ``train`` reads.
        predictions: One row for each row of the table.
        all_scores: Whether to add one probability column per label.

    Returns:
        ``data`` with ``{head}_label``, ``{head}_score`` and so on, and ``text_flag`` (``"empty"``, ``"truncated"``
        or ``"split"``) if any text was one of these.

    Raises:
        DataError: another number of rows, or a column whose name the predictions need.
    """
    table = read_table(data)
    if table.rows != len(predictions):
        raise DataError(f"{table.name}: has {table.rows} rows, but there are predictions for {len(predictions)}")
    scored, added = table.to_arrow(), predictions.to_arrow(all_scores)
    flags = _flags(predictions)
    if any(flag is not None for flag in flags):
        added = added.append_column(FLAG_COLUMN, arrow_array(flags))
    taken = sorted(set(scored.column_names) & set(added.column_names))
    if taken:
        raise DataError(f"{table.name}: already has the columns {listed(taken)}, which the scores need; rename them")
    for name in added.column_names:
        scored = scored.append_column(name, added.column(name))
    return scored


def _flags(predictions: Predictions) -> list[str | None]:
    known = {"empty": predictions.empty, "truncated": predictions.truncated, "split": predictions.split}
    flags = np.select(list(known.values()), list(known), default="")
    return [str(flag) or None for flag in flags]
