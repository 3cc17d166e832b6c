"""Regression: one number per row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from manyheads.heads.base import LEAST_SCORE, CellLosses
from manyheads.heads.kinds.number import NumberSpec

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, repr=False)
class Regression(NumberSpec):
    """One number per text; squared error (``torch.nn.functional.mse_loss``).

    Examples:
        >>> head = model.add_head("age", mh.Regression())
        >>> result = mh.train(model, table, text="note", heads=["age"])
        >>> isinstance(model.predict(texts, heads=["age"])[0]["age"].value, float)
        True
    """

    kind: ClassVar[str] = "regression"
    valid_target: ClassVar[str] = "a finite number in fp32"
    squared_error: ClassVar[bool] = True

    @property
    def main_metric(self) -> str:
        """R squared."""
        return "r2"

    def allows(self, values: np.ndarray) -> np.ndarray:
        """Return booleans: the values that fp32 can represent."""
        allowed: np.ndarray = np.abs(values) <= _LARGEST
        return allowed

    def cell_losses(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> CellLosses:
        """Return the squared error of each row."""
        import torch
        from torch.nn import functional as F

        present = self.labelled(targets)
        targets = targets[present].to(logits.dtype)
        losses = F.mse_loss(logits[present].squeeze(-1), targets, reduction="none")
        return CellLosses(losses, torch.ones_like(losses), present)

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return 2, the second derivative of a square."""
        import torch

        return torch.full_like(logits[0], 2.0)

    def raw_scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the logits (rows, 1): they are the values."""
        return logits

    def raw_logits(self, scores: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Return the values (rows, 1)."""
        return scores
