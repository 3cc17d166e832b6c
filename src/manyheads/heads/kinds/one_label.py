"""The common part of the kinds with exactly one label per row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from manyheads.errors import HeadError, InputError
from manyheads.heads.answers import Answers, answers
from manyheads.heads.base import Column
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.labels import LabelIndex, label_array
from manyheads.heads.cells.shares import normalized, read_shares, shares_in
from manyheads.heads.cells.spans import SplitText
from manyheads.heads.decision import Decision
from manyheads.heads.kinds.labelled import LabelledSpec
from manyheads.heads.kinds.shares import check_shares, label_counts
from manyheads.heads.kinds.softmax import balanced, check_classes, one_hot
from manyheads.heads.targets import RowTargets, ShareTargets, Targets
from manyheads.types import MISSING, Batch, Prediction

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class OneLabelSpec(LabelledSpec):
    """A head that predicts one of its labels per row, and a probability for each."""

    decided_by: ClassVar[frozenset[str]] = frozenset({item.name for item in fields(Decision)} - {"thresholds"})

    @abstractmethod
    def positions(self, logits: np.ndarray) -> np.ndarray:
        """Return the predicted label's position (...) for logits (..., outputs), which no temperature changes."""

    def encode(
        self, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None = None
    ) -> RowTargets:
        """Return int64 label positions (rows,), -100 where missing, or, if a cell is a mapping of labels to shares,
        shares (rows, labels). A mapping without a label is a missing label.
        """
        index = LabelIndex(self.labels)
        shares = [shares_in(cell, index) for cell in cells]
        if any(found is not None for found in shares):
            rows = enumerate(zip(cells, shares, strict=True))
            values = [self._shares_of(cell, found, index, row, head, source) for row, (cell, found) in rows]
            return ShareTargets(np.array(values, dtype=np.float32))
        positions = [
            MISSING if is_missing(cell) else index.position(cell, row, head, source) for row, cell in enumerate(cells)
        ]
        return RowTargets(np.array(positions, dtype=np.int64))

    def joined(self, parts: Sequence[Targets]) -> Targets:
        """Return the targets of several tables end to end: as shares if any table has shares."""
        if not any(isinstance(part, ShareTargets) for part in parts):
            return super().joined(parts)
        return super().joined([ShareTargets(self.target_scores(part.values)) for part in parts])

    def check_targets(self, targets: Tensor, batch: Batch, head: str) -> Tensor:
        """Return int64 positions (rows,), -100 where missing, or fp32 shares (rows, labels), divided by their sums, a
        row of NaN where missing.
        """
        rows, labels = len(batch.input_ids), len(self.labels)
        if targets.shape == (rows, labels):
            return check_shares(targets, head)
        if targets.shape != (rows,):
            raise InputError(
                f"Head {head!r}: labels must have shape ({rows},), or ({rows}, {labels}) with the share of each label, "
                f"got {tuple(targets.shape)}"
            )
        return check_classes(targets, labels, head)

    def unseen_labels(self, targets: np.ndarray) -> list[object]:
        """Return the labels that no row of these targets has."""
        import torch

        counts = label_counts(torch.from_numpy(targets), len(self.labels)).tolist()
        return [label for label, count in zip(self.labels, counts, strict=True) if not count]

    def balanced_weights(self, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return rows / (labels * rows of the label), scikit-learn's rule; 1 for a label without rows."""
        return balanced(targets, len(self.labels), sample_weight)

    def target_scores(self, targets: np.ndarray) -> np.ndarray:
        """Return one for the label and zero for the others, or the shares."""
        return one_hot(targets, len(self.labels)) if targets.ndim == 1 else targets

    def check_decision(self, decision: Decision) -> None:
        """Check that there is a cost for each pair of labels."""
        super().check_decision(decision)
        labels = len(self.labels)
        if decision.costs is not None and len(decision.costs) != labels:
            raise HeadError(
                f"{self.owner}: costs must be {labels} x {labels} numbers, one for each pair of labels, got "
                f"{len(decision.costs)} x {len(decision.costs)}"
            )

    def answers(self, logits: np.ndarray, scores: np.ndarray, decision: Decision) -> Answers:
        """Return the answers for logits (rows, outputs) and their scores (rows, labels): the label of ``positions``, or
        the one with the least expected cost, and all else that the decision sets."""
        return answers(scores, self.positions(logits), decision)

    def prediction(self, logits: np.ndarray, scores: np.ndarray, decision: Decision) -> Prediction:
        """Return the label of ``answers``."""
        found = self.answers(logits[None], scores[None], decision)
        place = int(found.positions[0])
        return Prediction(
            label=self.labels[place],
            score=float(scores[place]),
            scores=self.named(scores),
            abstained=None if found.abstained is None else bool(found.abstained[0]),
            set=None if found.sets is None else tuple(self._labels_at(found.sets[0])),
            cost=None if found.costs is None else float(found.costs[0]),
        )

    def table_columns(
        self, head: str, logits: Any, scores: Any, decision: Decision, all_scores: bool
    ) -> dict[str, Column]:
        """Return ``{head}_label``, ``{head}_score``, as the decision says ``{head}_cost``, ``{head}_abstained`` and
        ``{head}_set`` (lists), and with ``all_scores`` one column per label."""
        found = self.answers(logits, scores, decision)
        columns: dict[str, Column] = {
            f"{head}_label": label_array(self.labels)[found.positions].tolist(),
            f"{head}_score": np.take_along_axis(scores, found.positions[:, None], axis=1)[:, 0],
        }
        if found.costs is not None:
            columns[f"{head}_cost"] = found.costs
        if found.abstained is not None:
            columns[f"{head}_abstained"] = found.abstained
        if found.sets is not None:
            columns[f"{head}_set"] = [self._labels_at(row) for row in found.sets]
        return columns | self.score_columns(head, scores) if all_scores else columns

    def _labels_at(self, chosen: np.ndarray) -> list[object]:
        """Return the labels at true positions (labels,)."""
        return [self.labels[place] for place in np.flatnonzero(chosen).tolist()]

    def _shares_of(
        self, cell: object, shares: Mapping[object, object] | None, index: LabelIndex, row: int, head: str, source: str
    ) -> np.ndarray:
        """Return the share of every label in a cell (labels,), NaN if it is missing."""
        if is_missing(cell) or (shares is not None and not shares):
            return np.full(len(self.labels), np.nan)
        if shares is None:
            shares = {cell: 1}
        return normalized(read_shares(shares, index, row, head, source), row, head, source)
