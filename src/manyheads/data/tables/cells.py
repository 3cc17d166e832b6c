"""Cells of any library as plain Python values."""

from __future__ import annotations

import numpy as np

from manyheads.runtime.nulls import is_null


def plain_cell(cell: object) -> object:
    """Return a cell as a plain Python value, numpy's too; NaN, NaT and pandas' NA are ``None``."""
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    if is_null(cell):
        return None
    return cell.item() if isinstance(cell, np.generic) else cell
