"""``manyheads labels``: a table of suspect labels to correct, and one of rows to label next."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from rich.console import Console

from manyheads.cli.labels_options import LabelsOutput, NextInput, SuspectInput
from manyheads.cli.new_heads import with_heads
from manyheads.cli.tables import read_input
from manyheads.data.tables.table import Table
from manyheads.data.tables.writing import check_output, write_output
from manyheads.data.texts.texts import read_texts
from manyheads.errors import DataError, counted, listed
from manyheads.features import open_cache
from manyheads.functions.label_issues import label_issues
from manyheads.heads.cells.cells import is_missing
from manyheads.inference.text_columns import text_columns
from manyheads.labelling.next_rows import next_rows
from manyheads.model import HeadedModel


def run_suspect(source: SuspectInput, output: LabelsOutput) -> None:
    """Find suspect labels, and write the table with their rows first."""
    console = Console(stderr=True, highlight=False)
    check_output(output.out, output.overwrite)
    table = read_input(source.data, source.format)
    model = HeadedModel.from_pretrained(source.model, trust_remote_code=source.trust_remote_code)
    names = with_heads(model, table, source.head or (), console)
    text = text_columns(source.text, model.heads.values(), source.data)
    heads = names if source.head else None
    issues = label_issues(model, table, text, heads, folds=source.folds, max_length=source.max_length, seed=source.seed)
    issues.save(output.out, overwrite=True)
    if output.as_json and output.out != "-":
        print(json.dumps({"rows": table.rows, "suspects": len(issues), "notes": issues.notes, "out": output.out}))
        return
    for note in issues.notes:
        console.print(note, markup=False)
    columns = listed([model.heads[name].spec.column or name for name in names])
    console.print(
        f"{counted(len(issues), 'suspect label')}, the least probable first: {output.out}. Correct column {columns} in "
        "its first rows, then train on it.",
        markup=False,
        soft_wrap=True,
    )


def run_next(source: NextInput, output: LabelsOutput) -> None:
    """Choose the rows to label next, and write them with empty label columns."""
    console = Console(stderr=True, highlight=False)
    check_output(output.out, output.overwrite)
    table = read_input(source.data, source.format)
    model = HeadedModel.from_pretrained(source.model, trust_remote_code=source.trust_remote_code)
    heads = model.heads.chosen(source.head or None)
    columns = [head.spec.column or name for name, head in heads.items() if head.spec.has_labels]
    open_rows = _without_labels(table, columns)
    unlabelled = table.select(open_rows)
    texts = read_texts(unlabelled, text_columns(source.text, model.heads.values(), source.data))
    cache = open_cache("auto")
    chosen = next_rows(
        model.core, model.tokenizer, texts, source.count, list(heads), source.max_length, cache, source.seed
    )
    write_output(_to_label(unlabelled.select(chosen), columns), output.out)
    if output.as_json and output.out != "-":
        print(json.dumps({"rows": open_rows[chosen].tolist(), "out": output.out}))
        return
    console.print(
        f"{counted(len(chosen), 'row')} to label, the most uncertain first: {output.out}. Fill in column "
        f"{listed(columns)}, and train on these rows and the labelled ones.",
        markup=False,
        soft_wrap=True,
    )


def _without_labels(table: Table, columns: Sequence[str]) -> np.ndarray:
    """Return the rows without a label in any of the columns; all rows of a table without these columns.

    Raises:
        DataError: every row is labelled.
    """
    cells = [table.values(column) for column in columns if column in table.columns]
    rows = [row for row in range(table.rows) if all(is_missing(column[row]) for column in cells)]
    if not rows:
        raise DataError(f"{table.name}: every row has a label in {listed(columns)}; name a table with unlabelled rows")
    return np.array(rows)


def _to_label(table: Table, columns: Sequence[str]) -> pa.Table:
    """Return the rows with an empty column for each label that the table has no column for."""
    found = table.to_arrow()
    for column in columns:
        if column not in table.columns:
            found = found.append_column(column, pa.nulls(table.rows, pa.string()))
    return found
