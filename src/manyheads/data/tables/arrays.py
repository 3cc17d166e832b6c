"""Arrow arrays of Python values and of numpy arrays.

``pyarrow.array`` imports pandas where it is installed, even for a list of strings. Reading one text would wait for that
longer than for the text, so the usual columns of predictions are built from their buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

# Arrow counts the bytes of a string column in int32.
_MOST_BYTES = 2**31 - 1


def arrow_array(values: Sequence[object] | np.ndarray, type_: pa.DataType | None = None) -> pa.Array:
    """Return what ``pyarrow.array(values, type_)`` returns.

    Args:
        values: Cells, missing ones ``None``; or a numpy array (rows,).
        type_: The type; found from the cells by default.

    Raises:
        pyarrow.ArrowInvalid: cells of types that have no column type in common.
        pyarrow.ArrowTypeError: the same.
    """
    if isinstance(values, np.ndarray):
        return _numbers(values) if values.dtype.kind in "iuf" and values.ndim == 1 else pa.array(values)
    if type_ == pa.string():
        return _strings(values)
    if type_ is not None:
        return pa.array(values, type_)
    if any(type(value) is str for value in values) and all(type(value) is str or value is None for value in values):
        return _strings(values)
    return pa.array(values)


def index_array(positions: np.ndarray) -> pa.Array:
    """Return int64 positions (rows,) to take rows by; a negative one takes null."""
    positions = np.ascontiguousarray(positions, dtype=np.int64)
    present = pa.py_buffer(np.packbits(positions >= 0, bitorder="little"))
    return pa.Array.from_buffers(pa.int64(), len(positions), [present, pa.py_buffer(positions)])


def _numbers(values: np.ndarray) -> pa.Array:
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _strings(values: Sequence[object]) -> pa.Array:
    encoded = [b"" if value is None else str(value).encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)])
    if ends[-1] > _MOST_BYTES:
        return pa.array(values)
    present = np.packbits(np.array([value is not None for value in values], dtype=bool), bitorder="little")
    buffers = [present, ends.astype(np.int32), b"".join(encoded)]
    return pa.Array.from_buffers(pa.string(), len(values), [pa.py_buffer(buffer) for buffer in buffers])
