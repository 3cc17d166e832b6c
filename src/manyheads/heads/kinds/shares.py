"""Targets of heads with exactly one label per row: the label's position, or the share of every label.

Positions are integers (rows,), -100 for a missing label. Shares are floats (rows, labels), such as annotators' votes,
which add up to one in each row; a missing label is a row of NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from manyheads.errors import InputError
from manyheads.types import MISSING

if TYPE_CHECKING:
    from torch import Tensor


def has_label(targets: Tensor) -> Tensor:
    """Return booleans (rows,): the rows with a label."""
    import torch

    return ~torch.isnan(targets).any(dim=1) if targets.is_floating_point() else targets != MISSING


def label_shares(targets: Tensor, labels: int) -> Tensor:
    """Return the share of every label (rows, labels): positions as zeros and ones, and zeros for a missing label."""
    import torch

    if targets.is_floating_point():
        return targets.nan_to_num(nan=0.0)
    return (targets.unsqueeze(1) == torch.arange(labels, device=targets.device)).float()


def label_counts(targets: Tensor, labels: int, sample_weight: Tensor | None = None) -> Tensor:
    """Return how many rows have each label, or their weight, fp64 (labels,); a row with shares counts in parts."""
    import torch

    labelled = has_label(targets)
    present = targets[labelled]
    weights = None if sample_weight is None else sample_weight[labelled].double()
    if present.is_floating_point():
        return present.double().sum(dim=0) if weights is None else weights @ present.double()
    return torch.bincount(present, weights, minlength=labels).double()


def most_probable(targets: np.ndarray) -> np.ndarray:
    """Return the position of the label with the largest share, the first of equal ones, int64 (rows,), -100 where
    missing; positions are returned as they are.
    """
    if targets.ndim == 1:
        return targets
    present = ~np.isnan(targets).any(axis=1)
    positions: np.ndarray = np.where(present, np.nan_to_num(targets).argmax(axis=1), MISSING)
    return positions


def check_shares(targets: Tensor, head: str) -> Tensor:
    """Return fp32 shares (rows, labels) that add up to one in each row, from shares or votes.

    Raises:
        InputError: integers, negative or infinite shares, a row of zeros, or a row with some NaN.
    """
    import torch

    if not targets.is_floating_point():
        raise InputError(f"Head {head!r}: shares of labels must be floating-point numbers, got {targets.dtype}")
    shares, missing = targets.float(), torch.isnan(targets)
    wrong = ~missing & ~((shares >= 0) & torch.isfinite(shares))
    if bool(wrong.any()):
        raise InputError(f"Head {head!r}: a share must be finite and at least 0, got {float(targets[wrong][0])}")
    unclear = missing.any(dim=1) & ~missing.all(dim=1)
    if bool(unclear.any()):
        raise InputError(f"Head {head!r}: a row of shares must be all numbers, or all NaN for a missing label")
    largest = shares.amax(dim=1, keepdim=True)
    if bool((largest == 0).any()):
        raise InputError(f"Head {head!r}: a row of shares must not be all 0; a missing label is a row of NaN")
    relative = shares / largest
    return relative / relative.sum(dim=1, keepdim=True)
