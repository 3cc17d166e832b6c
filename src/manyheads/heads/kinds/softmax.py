"""Exactly one class per item, be that a text or a word: targets, their balance, softmax. -100 is a missing class."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.errors import InputError
from manyheads.heads.base import CellLosses, count_of, weighted
from manyheads.types import MISSING


def cross_entropies(
    logits: Tensor, targets: Tensor, class_weights: Tensor | None, label_smoothing: float
) -> CellLosses:
    """Return the cross-entropy of (items, classes) logits; weights and smoothing act as in ``cross_entropy``.

    Args:
        logits: fp32 (items, classes).
        targets: int64 (items,), -100 missing.
        class_weights: (classes,), or ``None``.
        label_smoothing: Share of each target that is spread over all classes.
    """
    present = targets != MISSING
    logits, targets = logits[present], targets[present]
    weights = weighted(class_weights, logits)
    losses = F.cross_entropy(logits, targets, weight=weights, reduction="none", label_smoothing=label_smoothing)
    return CellLosses(losses, torch.ones_like(losses) if weights is None else weights[targets], present)


def balanced(targets: Tensor, classes: int) -> Tensor:
    """Return items / (classes seen * items of the class), scikit-learn's rule; 1 for a class without items."""
    present = targets[targets != MISSING]
    counts = torch.bincount(present, minlength=classes).float()
    seen = count_of(counts > 0)
    return torch.where(counts > 0, present.shape[0] / (max(seen, 1) * counts.clamp(min=1)), 1.0)


def one_hot(targets: np.ndarray, classes: int) -> np.ndarray:
    """Return fp32 (..., classes): one for the class and zero for the others, NaN where it is missing."""
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


def check_classes(targets: Tensor, classes: int, head: str) -> Tensor:
    """Return int64 targets.

    Raises:
        InputError: no integers, or positions of no class.
    """
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise InputError(f"Head {head!r}: labels must be integer class positions, got {targets.dtype}")
    wrong = (targets != MISSING) & ((targets < 0) | (targets >= classes))
    if bool(wrong.any()):
        value = int(targets[wrong][0])
        raise InputError(f"Head {head!r}: class position {value} is outside 0 to {classes - 1}; -100 is missing")
    return targets.long()
