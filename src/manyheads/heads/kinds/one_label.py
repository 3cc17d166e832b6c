"""The common part of the kinds with exactly one label per row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from manyheads.errors import InputError
from manyheads.heads.base import Column
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.labels import LabelIndex, label_array
from manyheads.heads.cells.spans import SplitText
from manyheads.heads.decision import NEUTRAL, Decision
from manyheads.heads.kinds.labelled import LabelledSpec
from manyheads.heads.kinds.softmax import balanced, check_classes, one_hot
from manyheads.heads.targets import RowTargets
from manyheads.types import MISSING, Batch, Prediction


@dataclass(frozen=True, repr=False)
class OneLabelSpec(LabelledSpec):
    """A head that predicts one of its labels per row, and a probability for each."""

    @abstractmethod
    def positions(self, scores: np.ndarray) -> np.ndarray:
        """Return the predicted label's position (...) for scores (..., labels)."""

    def encode(
        self, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None = None
    ) -> RowTargets:
        """Return int64 label positions (rows,), -100 where missing."""
        index = LabelIndex(self.labels)
        positions = [
            MISSING if is_missing(cell) else index.position(cell, row, head, source) for row, cell in enumerate(cells)
        ]
        return RowTargets(np.array(positions, dtype=np.int64))

    def check_targets(self, targets: Tensor, batch: Batch, head: str) -> Tensor:
        """Return int64 positions (rows,), -100 where missing."""
        rows = len(batch.input_ids)
        if targets.shape != (rows,):
            raise InputError(f"Head {head!r}: labels must have shape ({rows},), got {tuple(targets.shape)}")
        return check_classes(targets, len(self.labels), head)

    def unseen_labels(self, targets: np.ndarray) -> list[object]:
        """Return the labels that no row of these targets has."""
        seen = set(np.unique(targets).tolist())
        return [label for position, label in enumerate(self.labels) if position not in seen]

    def balanced_weights(self, targets: Tensor) -> Tensor:
        """Return rows / (labels * rows of the label), scikit-learn's rule; 1 for a label without rows."""
        return balanced(targets, len(self.labels))

    def target_scores(self, targets: np.ndarray) -> np.ndarray:
        """Return one for the label and zero for the others."""
        return one_hot(targets, len(self.labels))

    def prediction(self, scores: np.ndarray, decision: Decision = NEUTRAL) -> Prediction:
        """Return the label of ``positions``."""
        place = int(self.positions(scores))
        return Prediction(label=self.labels[place], score=float(scores[place]), scores=self.named(scores))

    def table_columns(
        self, head: str, scores: np.ndarray, all_scores: bool, decision: Decision = NEUTRAL
    ) -> dict[str, Column]:
        """Return ``{head}_label``, ``{head}_score`` and with ``all_scores`` one column per label."""
        places = self.positions(scores)
        columns: dict[str, Column] = {
            f"{head}_label": label_array(self.labels)[places].tolist(),
            f"{head}_score": np.take_along_axis(scores, places[:, None], axis=1)[:, 0],
        }
        return columns | self.score_columns(head, scores) if all_scores else columns
