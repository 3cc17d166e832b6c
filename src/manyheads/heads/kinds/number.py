"""The common part of the kinds that predict one number per row."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from manyheads.errors import HeadError, InputError, LabelError
from manyheads.heads.base import Column, HeadSpec
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.numbers import with_points
from manyheads.heads.cells.spans import SplitText
from manyheads.heads.decision import Decision
from manyheads.heads.targets import RowTargets
from manyheads.runtime.lists import plain
from manyheads.types import Batch, Prediction

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class NumberSpec(HeadSpec):
    """A head with one logit per row, from which it predicts a number."""

    has_values: ClassVar[bool] = True
    # Description of a valid target, for messages.
    valid_target: ClassVar[str]

    def __post_init__(self) -> None:
        if self.class_weights is not None:
            raise HeadError(f"{self.owner}: has no classes, got class_weights={self.class_weights!r}; leave it out")
        super().__post_init__()

    @abstractmethod
    def allows(self, values: np.ndarray) -> np.ndarray:
        """Return booleans: the float64 values that are valid targets."""

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def encode(
        self, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None = None
    ) -> RowTargets:
        """Return float32 values (rows,), NaN where missing."""
        cells = with_points(cells)
        values = [
            math.nan if is_missing(cell) else self._number(cell, row, head, source) for row, cell in enumerate(cells)
        ]
        return RowTargets(np.array(values, dtype=np.float32))

    def check_targets(self, targets: Tensor, batch: Batch, head: str) -> Tensor:
        """Return fp32 numbers (rows,), given as (rows,) or (rows, 1), NaN where missing."""
        import torch

        rows = len(batch.input_ids)
        if targets.shape not in {(rows,), (rows, 1)}:
            raise InputError(
                f"Head {head!r}: targets must have shape ({rows},) or ({rows}, 1), got {tuple(targets.shape)}"
            )
        if targets.is_complex() or targets.dtype == torch.bool:
            raise InputError(f"Head {head!r}: targets must be numbers, got {targets.dtype}")
        targets = targets.reshape(rows).float()
        present = targets[~torch.isnan(targets)].double()
        wrong = present[~torch.from_numpy(self.allows(present.detach().cpu().numpy())).to(present.device)]
        if len(wrong):
            raise InputError(
                f"Head {head!r}: each target must be {self.valid_target}, got {float(wrong[0]):g}; NaN means missing"
            )
        return targets

    def balanced_weights(self, targets: Tensor, sample_weight: Tensor | None = None) -> None:
        """Return ``None``: there are no classes to balance."""

    def target_scores(self, targets: np.ndarray) -> np.ndarray:
        """Return the values as a column."""
        return targets[:, None]

    def prediction(self, logits: np.ndarray, scores: np.ndarray, decision: Decision) -> Prediction:
        """Return the value."""
        return Prediction(value=float(scores[0]))

    def table_columns(
        self, head: str, logits: Any, scores: Any, decision: Decision, all_scores: bool
    ) -> dict[str, Column]:
        """Return ``{head}_value``."""
        return {f"{head}_value": scores[:, 0]}

    def _number(self, cell: object, row: int, head: str, source: str) -> float:
        place = f"{source}: head {head!r}: {cell!r} (row {row + 1})"
        step = "correct the cell or leave it empty if it is missing"
        try:
            value = float(plain(cell))  # type: ignore[arg-type]
        except OverflowError:
            value = math.inf
        except (TypeError, ValueError):
            raise LabelError(f"{place} is not a number; {step}") from None
        if not bool(self.allows(np.array([value]))[0]):
            raise LabelError(f"{place} is not {self.valid_target}; {step}")
        return value
