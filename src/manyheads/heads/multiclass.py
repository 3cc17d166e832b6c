"""Multi-class: exactly one of several labels per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.errors import HeadError, InputError
from manyheads.heads.base import Column, LossTerms, count_of, weighted
from manyheads.heads.cells import is_missing
from manyheads.heads.labelled import LabelledSpec
from manyheads.heads.labels import LabelIndex, label_array
from manyheads.types import Prediction

MISSING = -100


@dataclass(frozen=True)
class Multiclass(LabelledSpec):
    """One of several labels; softmax and cross-entropy (``torch.nn.functional.cross_entropy``).

    Args:
        labels: At least two label names, in the order of the logits.
        zero_shot: Whether the head predicts without any training: by the logits that a causal language model gives its
            labels' words as the next token behind the text, or behind the prompt that it reads, less what it gives them
            for an empty text (contextual calibration, Zhao et al. 2021). Training goes on from there:
            ``init="lm_head"`` is implied.
    """

    kind: ClassVar[str] = "multiclass"
    speaks: ClassVar[bool] = True
    least_labels: ClassVar[int] = 2

    zero_shot: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.zero_shot, bool):
            raise HeadError(f"Multiclass: zero_shot must be True or False, got {self.zero_shot!r}")
        if self.zero_shot:
            object.__setattr__(self, "init", "lm_head")
        super().__post_init__()

    @property
    def needs_no_training(self) -> bool:
        """Whether it is a zero-shot head."""
        return self.zero_shot

    def encode(self, cells: Sequence[object], head: str, source: str) -> np.ndarray:
        """Return int64 label positions (rows,), -100 where missing."""
        index = LabelIndex(self.labels)
        return np.array(
            [
                MISSING if is_missing(cell) else index.position(cell, row, head, source)
                for row, cell in enumerate(cells)
            ],
            dtype=np.int64,
        )

    def check_targets(self, targets: Tensor, rows: int, head: str) -> Tensor:
        """Take integer positions (rows,), -100 where missing."""
        if targets.shape != (rows,):
            raise InputError(f"Head {head!r}: labels must have shape ({rows},), got {tuple(targets.shape)}")
        if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
            raise InputError(f"Head {head!r}: labels must be integer class positions, got {targets.dtype}")
        wrong = (targets != MISSING) & ((targets < 0) | (targets >= self.outputs))
        if bool(wrong.any()):
            value = int(targets[wrong][0])
            raise InputError(
                f"Head {head!r}: class position {value} is outside 0 to {self.outputs - 1}; -100 is missing"
            )
        return targets.long()

    def labelled(self, targets: Tensor) -> Tensor:
        """Tell which rows carry a label."""
        return targets != MISSING

    def loss(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> LossTerms:
        """Return summed cross-entropy; class weights and smoothing act as in ``cross_entropy``."""
        present = self.labelled(targets)
        logits, targets = logits[present], targets[present]
        weights = weighted(class_weights, logits)
        total = F.cross_entropy(logits, targets, weight=weights, reduction="sum", label_smoothing=self.label_smoothing)
        count = targets.shape[0]
        weight = logits.new_tensor(float(count)) if weights is None else weights[targets].sum()
        return LossTerms(total, weight, count)

    def balanced_weights(self, targets: Tensor) -> Tensor:
        """Return rows / (labels * rows of the label), scikit-learn's rule; 1 for a label without rows."""
        present = targets[self.labelled(targets)]
        counts = torch.bincount(present, minlength=self.outputs).float()
        seen = count_of(counts > 0)
        return torch.where(counts > 0, present.shape[0] / (max(seen, 1) * counts.clamp(min=1)), 1.0)

    def numbers(self, targets: np.ndarray) -> np.ndarray:
        """Return one for the label and zero for the others."""
        numbers: np.ndarray = (targets[:, None] == np.arange(self.outputs)).astype(np.float32)
        numbers[targets == MISSING] = np.nan
        return numbers

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax (rows, labels)."""
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
        return probabilities

    def prediction(self, scores: np.ndarray) -> Prediction:
        """Return the most probable label."""
        best = int(scores.argmax())
        return Prediction(label=self.labels[best], score=float(scores[best]), scores=self.named(scores))

    def table_columns(self, head: str, scores: np.ndarray, all_scores: bool) -> dict[str, Column]:
        """Return ``{head}_label``, ``{head}_score`` and, if asked, one column per label."""
        names = label_array(self.labels)
        columns: dict[str, Column] = {
            f"{head}_label": names[scores.argmax(axis=1)].tolist(),
            f"{head}_score": scores.max(axis=1),
        }
        return columns | self.score_columns(head, scores) if all_scores else columns
