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


def arrow_array(values: Sequence[object] | np.ndarray) -> pa.Array:
    """Return what ``pyarrow.array(values)`` returns.

    Args:
        values: Cells, missing ones ``None``; or a numpy array (rows,).

    Raises:
        pyarrow.ArrowInvalid: cells of types that have no column type in common.
        pyarrow.ArrowTypeError: the same.
    """
    if isinstance(values, np.ndarray):
        return _numbers(values) if values.dtype.kind in "iuf" and values.ndim == 1 else pa.array(values)
    if any(type(value) is str for value in values) and all(type(value) is str or value is None for value in values):
        return _strings(values)
    return pa.array(values)


def _numbers(values: np.ndarray) -> pa.Array:
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _strings(values: Sequence[object]) -> pa.Array:
    encoded = [b"" if value is None else str(value).encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)])
    if ends[-1] > _MOST_BYTES:
        return pa.array(values)
    present = np.packbits([value is not None for value in values], bitorder="little")
    buffers = [present, ends.astype(np.int32), b"".join(encoded)]
    return pa.Array.from_buffers(pa.string(), len(values), [pa.py_buffer(buffer) for buffer in buffers])
