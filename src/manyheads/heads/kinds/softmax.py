"""Exactly one class per item, be that a text or a word: targets, their balance, softmax.

A target is a class's position, -100 where missing, or the share of every class; see ``shares.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from manyheads.errors import InputError
from manyheads.heads.base import CellLosses, count_of, weighted
from manyheads.heads.kinds.shares import has_label, label_counts
from manyheads.types import MISSING

if TYPE_CHECKING:
    from torch import Tensor


def cross_entropies(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None, label_smoothing: float
) -> CellLosses:
    """Return the cross-entropy of (items, classes) logits; weights and smoothing act as in ``cross_entropy``.

    Args:
        logits: fp32 (items, classes).
        targets: int64 (items,), -100 missing, or shares (items, classes), NaN missing.
        class_weights: (classes,), or ``None``.
        label_smoothing: Share of each target that is spread over all classes.
    """
    import torch
    from torch.nn import functional as F

    present = has_label(targets)
    logits, targets = logits[present], targets[present]
    targets = targets.to(logits.dtype) if targets.is_floating_point() else targets
    weights = weighted(class_weights, logits)
    losses = F.cross_entropy(logits, targets, weight=weights, reduction="none", label_smoothing=label_smoothing)
    if weights is None:
        return CellLosses(losses, torch.ones_like(losses), present)
    return CellLosses(losses, targets @ weights if targets.is_floating_point() else weights[targets], present)


def balanced(targets: Tensor, classes: int, sample_weight: Tensor | None = None) -> Tensor:
    """Return items / (classes seen * items of the class), scikit-learn's rule; 1 for a class without items."""
    import torch

    counts = label_counts(targets, classes, sample_weight)
    seen = counts > 0
    return torch.where(seen, counts.sum() / (max(count_of(seen), 1) * torch.where(seen, counts, 1.0)), 1.0).float()


def one_hot(targets: np.ndarray, classes: int) -> np.ndarray:
    """Return positions (...,) as fp32 (..., classes): one for the class, zero for the others, NaN where missing."""
    target_scores: np.ndarray = (targets[..., None] == np.arange(classes)).astype(np.float32)
    target_scores[targets == MISSING] = np.nan
    return target_scores


def curvature(logits: Tensor) -> Tensor:
    """Return the mean second derivative of the loss with respect to each logit (classes,): ``p (1 - p)``."""
    probabilities = logits.softmax(dim=-1)
    return (probabilities * (1 - probabilities)).mean(dim=0)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities (..., classes)."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def logarithm(scores: np.ndarray, least: float) -> np.ndarray:
    """Return the logarithms of probabilities or rates, none of which is taken to be smaller than ``least``."""
    logarithms: np.ndarray = np.log(np.maximum(scores, least))
    return logarithms


def check_classes(targets: Tensor, classes: int, head: str) -> Tensor:
    """Return int64 targets.

    Raises:
        InputError: no integers, or positions of no class.
    """
    import torch

    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise InputError(f"Head {head!r}: labels must be integer class positions, got {targets.dtype}")
    wrong = (targets != MISSING) & ((targets < 0) | (targets >= classes))
    if bool(wrong.any()):
        value = int(targets[wrong][0])
        raise InputError(f"Head {head!r}: class position {value} is outside 0 to {classes - 1}; -100 is missing")
    return targets.long()
