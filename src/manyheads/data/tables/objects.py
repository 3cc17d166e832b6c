"""Tables that a program already holds, known by their module's name so that none of it need be installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from manyheads.data.tables.columns import ArrowColumn, Column, ListColumn, list_column
from manyheads.errors import DataError
from manyheads.runtime.class_names import ClassName

# ClassLabel's number for no label.
NO_CLASS = -1

NamedColumns = list[tuple[object, Column]]


def is_from(data: object, library: str, class_name: str) -> bool:
    """Tell whether an object is a ``library``'s ``class_name`` or derives from it."""
    return any(base.__module__.split(".")[0] == library and base.__name__ == class_name for base in type(data).__mro__)


def pandas_columns(frame: Any) -> NamedColumns:
    """Return the columns of a pandas DataFrame."""
    return [(name, _pandas_column(frame.iloc[:, place])) for place, name in enumerate(frame.columns)]


def _pandas_column(series: Any) -> Column:
    # Arrow would turn the 1 of an object column [1, 2.5] into 1.0.
    if series.dtype == object:
        return list_column(series.tolist())
    try:
        return _arrow_column(pa.array(series, from_pandas=True))
    except (pa.ArrowException, TypeError, ValueError):
        return list_column(series.tolist())


def polars_columns(frame: Any) -> NamedColumns:
    """Return the columns of a polars DataFrame."""
    return [(series.name, _polars_column(series)) for series in frame.get_columns()]


def _polars_column(series: Any) -> Column:
    # Arrow gets the addresses of Python objects, not the objects.
    return list_column(series.to_list()) if str(series.dtype) == "Object" else _arrow_column(series.to_arrow())


def arrow_columns(table: pa.Table) -> NamedColumns:
    """Return the columns of a pyarrow Table."""
    return [(name, ArrowColumn(cells)) for name, cells in zip(table.column_names, table.columns, strict=True)]


def dataset_columns(dataset: Any) -> NamedColumns:
    """Return the columns of a ``datasets.Dataset``, in the order that its shuffles and selects gave it."""
    columns = arrow_columns(dataset.with_format("arrow")[:])
    return [(name, _named_classes(cells, dataset.features.get(name))) for name, cells in columns]


def _named_classes(cells: Column, feature: Any) -> Column:
    """Return the cells of a ClassLabel feature, or of lists of one, as names; -1 means no label."""
    inner = getattr(feature, "feature", feature)
    if inner is None and isinstance(feature, list) and len(feature) == 1:
        inner = feature[0]
    if type(inner).__name__ != "ClassLabel":
        return cells
    return ListColumn([_class_name(cell, inner.names) for cell in cells.values()])


def _class_name(cell: object, names: Sequence[str]) -> object:
    if isinstance(cell, list):
        return [_class_name(item, names) for item in cell]
    if not isinstance(cell, int) or cell == NO_CLASS:
        return None
    return ClassName(names[cell], cell) if 0 <= cell < len(names) else cell


def row_columns(rows: Sequence[object], name: str) -> NamedColumns:
    """Return the columns of a list of dicts: every key of any row, in order of appearance.

    Raises:
        DataError: a row that is not a dict.
    """
    keys: dict[object, None] = {}
    checked: list[Mapping[object, object]] = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise DataError(
                f"{name}, row {number}: must be a dict such as {{'text': ...}}, "
                f"got {repr(row)[:40]} ({type(row).__name__})"
            )
        keys.update(dict.fromkeys(row))
        checked.append(row)
    return [(key, list_column([row.get(key) for row in checked])) for key in keys]


def _arrow_column(cells: Any) -> ArrowColumn:
    return ArrowColumn(cells if isinstance(cells, pa.ChunkedArray) else pa.chunked_array([cells]))
