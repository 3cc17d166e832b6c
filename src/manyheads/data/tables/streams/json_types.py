"""The Arrow type of a column of JSON values, found piece by piece."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from manyheads.data.tables.cells import plain_cell
from manyheads.data.tables.columns import as_text


class TypeOfCells:
    """The type that all cells of a column share, or text; the rule of ``ListColumn.arrow`` for a whole column."""

    def __init__(self) -> None:
        self._found = pa.null()
        self._types: set[type] = set()
        self._mixed = False

    def add(self, cells: Sequence[object]) -> None:
        """Take in some cells."""
        self._types |= {type(cell) for cell in cells if cell is not None}
        try:
            self._found = merged_type(self._found, pa.array(cells).type)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            self._mixed = True

    @property
    def type(self) -> pa.DataType:
        """The type of the cells so far."""
        mixed = self._mixed or (len(self._types) > 1 and not pa.types.is_nested(self._found))
        return pa.string() if mixed else self._found


def merged_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the type that holds the values of both.

    Raises:
        pa.ArrowException: there is none.
    """
    if one == other:
        return one
    schemas = [pa.schema([("", type_)]) for type_ in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field(0).type


def array_of(cells: Sequence[object], type_: pa.DataType) -> pa.Array:
    """Return cells as an array of a type that ``TypeOfCells`` found."""
    plain = [plain_cell(cell) for cell in cells]
    return as_text(plain) if type_ == pa.string() else pa.array(plain, type_)
