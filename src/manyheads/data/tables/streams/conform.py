"""Pieces of typed tables, with the types that all files share."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from manyheads.data.tables.columns import ArrowColumn, as_text
from manyheads.data.tables.streams.json_types import merged_type
from manyheads.data.tables.streams.stream import with_errors
from manyheads.data.texts.texts import text_problem
from manyheads.errors import DataError, listed


def shared_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return a schema with the columns of all; a column has a type that holds all of its cells, or is text."""
    first = schemas[0]
    types = {name: first.field(name).type for name in first.names}
    for schema in schemas[1:]:
        types = {name: _shared_type(type_, schema.field(name).type) for name, type_ in types.items()}
    return pa.schema(list(types.items()))


def conformed(piece: pa.Table, schema: pa.Schema, text: Sequence[str], name: str) -> pa.Table:
    """Return some rows with the columns and types of a schema, and their errors.

    Args:
        piece: The rows.
        schema: Columns and types.
        text: The columns that are read as texts.
        name: The table's name, for messages.

    Raises:
        DataError: another column, or a cell that its type cannot hold.
    """
    if set(piece.column_names) != set(schema.names):
        raise DataError(f"{name}: has the columns {listed(piece.column_names)}, expected {listed(schema.names)}")
    errors: list[str | None] = [None] * piece.num_rows
    columns = []
    for field in schema:
        cells = _as_utf8(piece.column(field.name), errors, field.name)
        if field.name in text:
            _check_texts(cells, errors, field.name)
        columns.append(_as_type(cells, field.type, field.name, name))
    return with_errors(columns, schema, errors)


def _shared_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    try:
        return merged_type(one, other)
    except pa.ArrowException:
        return pa.string()


def _as_type(cells: pa.ChunkedArray, type_: pa.DataType, column: str, name: str) -> pa.ChunkedArray:
    if cells.type == type_:
        return cells
    if type_ == pa.string() and not pa.types.is_large_string(cells.type):
        return pa.chunked_array([as_text(ArrowColumn(cells).values())])
    try:
        return cells.cast(type_)
    except pa.ArrowException as error:
        raise DataError(f"{name}: column {column!r} cannot be read as {type_}: {error}") from None


def _check_texts(cells: pa.ChunkedArray, errors: list[str | None], column: str) -> None:
    if pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type):
        return
    for row, cell in enumerate(ArrowColumn(cells).values()):
        errors[row] = errors[row] or text_problem(cell, column)


def _as_utf8(cells: pa.ChunkedArray, errors: list[str | None], column: str) -> pa.ChunkedArray:
    """Return cells with the texts that are not UTF-8 repaired; their rows get an error."""
    if not (pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type)):
        return cells
    try:
        cells.validate(full=True)
    except pa.ArrowInvalid:
        binary = cells.cast(pa.large_binary() if pa.types.is_large_string(cells.type) else pa.binary())
        texts = [None if cell is None else cell.decode("utf-8", "replace") for cell in binary.to_pylist()]
        for row, (cell, text) in enumerate(zip(binary.to_pylist(), texts, strict=True)):
            if text is not None and text.encode("utf-8") != cell:
                errors[row] = f"column {column!r} is not UTF-8; write the text as UTF-8"
        return pa.chunked_array([pa.array(texts, cells.type)])
    return cells
