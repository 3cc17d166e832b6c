"""Multi-class: exactly one of several labels per row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from manyheads.errors import HeadError
from manyheads.heads.base import LossTerms, weighted
from manyheads.heads.one_label import OneLabelSpec


@dataclass(frozen=True)
class Multiclass(OneLabelSpec):
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

    def loss(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> LossTerms:
        """Return summed cross-entropy; class weights and smoothing act as in ``cross_entropy``."""
        present = self.labelled(targets)
        logits, targets = logits[present], targets[present]
        weights = weighted(class_weights, logits)
        total = F.cross_entropy(logits, targets, weight=weights, reduction="sum", label_smoothing=self.label_smoothing)
        count = targets.shape[0]
        weight = logits.new_tensor(float(count)) if weights is None else weights[targets].sum()
        return LossTerms(total, weight, count)

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the softmax's ``p (1 - p)``, averaged over rows."""
        probabilities = logits.softmax(dim=-1)
        return (probabilities * (1 - probabilities)).mean(dim=0)

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax (rows, labels)."""
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        probabilities: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
        return probabilities

    def positions(self, scores: np.ndarray) -> np.ndarray:
        """Return the most probable label's."""
        places: np.ndarray = scores.argmax(axis=-1)
        return places
