"""Label cells that weigh several labels: a mapping of labels to shares, such as the votes of annotators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from manyheads.errors import LabelError
from manyheads.heads.cells.labels import LabelIndex
from manyheads.runtime.lists import loaded, plain


def shares_in(cell: object, index: LabelIndex | None = None) -> dict[object, object] | None:
    """Return a cell's shares by label, or ``None`` if it is no mapping.

    Tables with a column per key, such as Arrow's, have a null for a key that a row lacks; such keys are left out.

    Args:
        cell: A mapping, the text of one in JSON or Python as CSV files contain it, or anything else.
        index: A head's labels. A text that is one of them is no mapping.

    Examples:
        >>> from manyheads.heads.cells.shares import shares_in
        >>> shares_in('{"urgent": 2, "routine": 1, "emergency": null}'), shares_in("urgent")
        ({'urgent': 2, 'routine': 1}, None)
    """
    if isinstance(cell, str):
        text = cell.strip()
        braced = text.startswith("{") and text.endswith("}")
        cell = loaded(text) if braced and (index is None or index.find(text) is None) else None
    if not isinstance(cell, Mapping):
        return None
    return {label: plain(share) for label, share in cell.items() if share is not None}


def is_shares(cell: object) -> bool:
    """Return whether a cell is a mapping of labels to numbers, or the text of one."""
    shares = shares_in(cell)
    return shares is not None and all(isinstance(share, int | float | Decimal) for share in shares.values())


def read_shares(
    shares: Mapping[object, object], index: LabelIndex, row: int, head: str, source: str, most: float = math.inf
) -> np.ndarray:
    """Return the share of every label, fp64 (labels,), 0 for labels that the mapping does not name.

    Args:
        shares: Label -> share.
        index: The head's labels.
        row: The cell's row from 0, for messages.
        head: The head's name, for messages.
        source: The table's name, for messages.
        most: The largest share.

    Raises:
        LabelError: an unknown label, a label twice, or a share that is no number from 0 to ``most``.
    """
    values = np.full(len(index.labels), np.nan)
    for label, share in shares.items():
        place = index.position(label, row, head, source)
        where = f"{source}: head {head!r}: the share {share!r} of label {label!r} (row {row + 1})"
        number = _number(share)
        if not 0 <= number <= most or math.isinf(number):
            limit = "a finite number of at least 0" if most == math.inf else f"a number from 0 to {most:g}"
            raise LabelError(f"{where} must be {limit}; correct it, or leave the label out of the cell")
        if not math.isnan(values[place]):
            raise LabelError(f"{where} is the second one of {index.labels[place]!r}; name each label once")
        values[place] = number
    filled: np.ndarray = np.nan_to_num(values)
    return filled


def _number(share: object) -> float:
    """Return a share as a number, NaN if it is none."""
    try:
        return float(share) if isinstance(share, int | float | Decimal) else math.nan
    except OverflowError:
        return math.inf


def normalized(shares: np.ndarray, row: int, head: str, source: str) -> np.ndarray:
    """Return shares (labels,) divided by their sum.

    Raises:
        LabelError: all of them are 0.
    """
    largest = shares.max()
    if not largest > 0:
        raise LabelError(
            f"{source}: head {head!r}: all shares in row {row + 1} are 0, so it has no label; leave the cell empty if "
            "it is missing, or correct it"
        )
    relative = shares / largest
    divided: np.ndarray = relative / relative.sum()
    return divided
