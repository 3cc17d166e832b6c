"""Regression: one number per row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from manyheads.errors import HeadError, InputError, LabelError
from manyheads.heads.base import Column, HeadSpec, LossTerms
from manyheads.heads.cells.cells import is_missing, plain
from manyheads.heads.cells.word_labels import SplitText
from manyheads.heads.targets import RowTargets
from manyheads.types import Batch, Prediction

_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Regression(HeadSpec):
    """One number; squared error (``torch.nn.functional.mse_loss``)."""

    kind: ClassVar[str] = "regression"
    has_values: ClassVar[bool] = True
    squared_error: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.class_weights is not None:
            raise HeadError(f"Regression: has no classes, got class_weights={self.class_weights!r}; leave it out")
        super().__post_init__()

    @property
    def main_metric(self) -> str:
        """R squared."""
        return "r2"

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def encode(
        self, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None = None
    ) -> RowTargets:
        """Return float32 values (rows,), NaN where missing."""
        values = [math.nan if is_missing(cell) else _number(cell, row, head, source) for row, cell in enumerate(cells)]
        return RowTargets(np.array(values, dtype=np.float32))

    def check_targets(self, targets: Tensor, batch: Batch, head: str) -> Tensor:
        """Return fp32 numbers (rows,), given as (rows,) or (rows, 1), NaN where missing."""
        rows = len(batch.input_ids)
        if targets.shape not in {(rows,), (rows, 1)}:
            raise InputError(
                f"Head {head!r}: targets must have shape ({rows},) or ({rows}, 1), got {tuple(targets.shape)}"
            )
        if targets.is_complex() or targets.dtype == torch.bool:
            raise InputError(f"Head {head!r}: targets must be numbers, got {targets.dtype}")
        targets = targets.reshape(rows).float()
        if bool(torch.isinf(targets).any()):
            raise InputError(f"Head {head!r}: targets must be finite in fp32, got an infinite one; NaN means missing")
        return targets

    def loss(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> LossTerms:
        """Return the summed squared error."""
        present = self.labelled(targets)
        targets = targets[present].to(logits.dtype)
        total = F.mse_loss(logits[present].squeeze(-1), targets, reduction="sum")
        count = targets.shape[0]
        return LossTerms(total, logits.new_tensor(float(count)), count)

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return 2: the second derivative of a square."""
        return torch.full_like(logits[0], 2.0)

    def balanced_weights(self, targets: Tensor) -> None:
        """There are no classes to balance."""

    def target_scores(self, targets: np.ndarray) -> np.ndarray:
        """Return the values as a column."""
        return targets[:, None]

    def scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the values (rows, 1) as they are."""
        return logits

    def prediction(self, scores: np.ndarray) -> Prediction:
        """Return the value."""
        return Prediction(value=float(scores[0]))

    def table_columns(self, head: str, scores: np.ndarray, all_scores: bool) -> dict[str, Column]:
        """Return ``{head}_value``."""
        return {f"{head}_value": scores[:, 0]}


def _number(cell: object, row: int, head: str, source: str) -> float:
    try:
        value = float(plain(cell))  # type: ignore[arg-type]
    except OverflowError:
        value = math.inf
    except (TypeError, ValueError):
        raise LabelError(
            f"{source}: head {head!r}: {cell!r} (row {row + 1}) is not a number. "
            "Correct the cell, or leave it empty if it is missing."
        ) from None
    if not abs(value) <= _LARGEST:
        raise LabelError(
            f"{source}: head {head!r}: {cell!r} (row {row + 1}) is not a finite number in fp32. "
            "Correct the cell, or leave it empty if it is missing."
        )
    return value
