"""New heads whose kinds and labels come from the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from manyheads.cli.run_file.heads import asks_column, build_head, check_kept
from manyheads.data.infer import InferredHeads, explain, infer_heads
from manyheads.data.tables.table import Table
from manyheads.errors import HeadError
from manyheads.heads import HeadSpec
from manyheads.model import HeadedModel


def new_specs(table: Table, heads: Mapping[str, Mapping[str, Any]], console: Console) -> dict[str, HeadSpec]:
    """Return the heads' specs; missing kinds and labels are inferred from their columns.

    Args:
        table: The training table.
        heads: Head name -> its settings, as in a run file.
        console: Prints what was inferred.
    """
    columns = {name: settings.get("column", name) for name, settings in heads.items() if asks_column(settings)}
    inferred = infer_heads(table, list(dict.fromkeys(columns.values()))) if columns else InferredHeads({})
    for line in explain(inferred):
        console.print(line, markup=False, highlight=False)
    return {
        name: build_head(name, settings, inferred[columns[name]] if name in columns else None)
        for name, settings in heads.items()
    }


def with_heads(model: HeadedModel, table: Table, named: Sequence[str], console: Console) -> list[str]:
    """Return the names of the heads that options name, after adding those that the model does not have.

    Args:
        model: The model; new heads are added to it.
        table: The training table.
        named: ``NAME`` or ``NAME=COLUMN``; all heads of the model if empty.
        console: Prints what was inferred.

    Raises:
        HeadError: no head is named, and the model has none; or a head of the model reads another column.
    """
    pairs = [option.partition("=") for option in named]
    settings = {name: {"column": column} if column else {} for name, _, column in pairs}
    if not settings and not len(model.heads):
        raise HeadError("The model has no head; name a label column with --head")
    for name in settings:
        if name in model.heads:
            check_kept(name, model.heads[name].spec, settings[name])
    new = {name: own for name, own in settings.items() if name not in model.heads}
    for name, spec in new_specs(table, new, console).items():
        model.add_head(name, spec)
    return list(settings) or list(model.heads)
