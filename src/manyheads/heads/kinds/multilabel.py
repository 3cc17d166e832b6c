"""Multi-label: any number of several labels per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from manyheads.errors import HeadError, InputError
from manyheads.heads.base import LEAST_SCORE, CellLosses, Column, weighted
from manyheads.heads.cells.cells import is_missing, split_labels
from manyheads.heads.cells.labels import LabelIndex
from manyheads.heads.cells.multi_hot import bits_width, multi_hot_width
from manyheads.heads.cells.shares import read_shares, shares_in
from manyheads.heads.cells.spans import SplitText
from manyheads.heads.decision import DEFAULT_THRESHOLD, Decision
from manyheads.heads.kinds.labelled import LabelledSpec
from manyheads.heads.kinds.softmax import logarithm
from manyheads.heads.targets import RowTargets, Targets
from manyheads.runtime.lists import list_items
from manyheads.types import MISSING, Batch, Prediction

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class MultiLabel(LabelledSpec):
    """Any number of labels per text; one sigmoid and binary cross-entropy per label.

    Training fits a threshold per label, see ``Decision``.

    Class weights are factors on the positive cells of each label, like ``pos_weight`` of
    ``torch.nn.functional.binary_cross_entropy_with_logits``.

    Args:
        labels: At least one label name, in the order of the logits.
        separator: The text between the labels of a cell that is a string. A cell may also be a list of labels, the text
            of such a list in JSON or Python, a mapping of labels to probabilities such as ``{"sport": 0.8}``, with 0
            for the other labels, or, in the whole column, a list with a zero or a one for each label.

    Raises:
        HeadError: a setting out of its range.

    Examples:
        >>> head = model.add_head("symptoms", mh.MultiLabel(labels=["pain", "fever", "cough"]))
        >>> result = mh.train(model, table, text="note", heads=["symptoms"])
        >>> sorted(result.metrics["symptoms"])[:2]
        ['average_precision', 'exact_match']
    """

    kind: ClassVar[str] = "multilabel"
    has_label_words: ClassVar[bool] = True
    decided_by: ClassVar[frozenset[str]] = frozenset({"temperature", "thresholds"})
    least_labels: ClassVar[int] = 1

    separator: str = field(default="|", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.separator, str) or not self.separator:
            raise HeadError(f"MultiLabel: separator must be text such as '|', got {self.separator!r}")

    @property
    def main_metric(self) -> str:
        """Micro-averaged F1."""
        return "micro_f1"

    @property
    def cells_of_labels(self) -> list[object]:
        """One list per label that has it alone."""
        return [[label] for label in self.labels]

    def labels_in_cells(self, cells: Sequence[object]) -> list[object]:
        """Return the labels in cells; none of multi-hot cells."""
        index = LabelIndex(self.labels)
        shares = [shares_in(cell, index) for cell in cells]
        multi_hot = self._is_multi_hot(_without_shares(cells, shares))
        found: list[object] = []
        for cell, own in zip(cells, shares, strict=True):
            if own is not None:
                found += own
            elif not multi_hot and not is_missing(cell):
                found += self.labels_in(cell)
        return found

    def only_own_labels(self, targets: Targets) -> RowTargets:
        """Return targets (rows, labels) without the further labels."""
        return RowTargets(targets.values[:, : self.outputs])

    def labels_in(self, cell: object) -> list[object]:
        """Return the labels of a cell that is not missing."""
        return [label for label in split_labels(cell, self.separator) if not is_missing(label)]

    def encode(
        self, cells: Sequence[object], head: str, source: str, texts: Sequence[SplitText] | None = None
    ) -> RowTargets:
        """Return float32 probabilities (rows, labels), zeros and ones for lists of labels, NaN where missing."""
        index = LabelIndex(self.labels)
        targets = np.zeros((len(cells), self.outputs), dtype=np.float32)
        shares = [shares_in(cell, index) for cell in cells]
        multi_hot = self._is_multi_hot(_without_shares(cells, shares))
        for row, (cell, own) in enumerate(zip(cells, shares, strict=True)):
            if own is not None:
                targets[row] = read_shares(own, index, row, head, source, most=1.0)
            elif is_missing(cell):
                targets[row] = np.nan
            elif multi_hot:
                targets[row] = np.array(list_items(cell), dtype=np.float32)
            else:
                targets[row, [index.position(label, row, head, source) for label in self.labels_in(cell)]] = 1.0
        return RowTargets(targets)

    def _is_multi_hot(self, cells: Sequence[object]) -> bool:
        if any(label in (0, 1, "0", "1") for label in self.labels):
            return multi_hot_width(cells) == self.outputs
        return bits_width(cells) == self.outputs

    def check_targets(self, targets: Tensor, batch: Batch, head: str) -> Tensor:
        """Return fp32 zeros and ones (rows, labels), NaN where missing, or given as -100 in an integer tensor."""
        import torch

        rows = len(batch.input_ids)
        if targets.shape != (rows, self.outputs):
            raise InputError(
                f"Head {head!r}: labels must have shape ({rows}, {self.outputs}), got {tuple(targets.shape)}"
            )
        if not targets.is_floating_point():
            targets = targets.float().masked_fill(targets == MISSING, float("nan"))
        wrong = ~torch.isnan(targets) & ((targets < 0) | (targets > 1))
        if bool(wrong.any()):
            raise InputError(f"Head {head!r}: a label must lie between 0 and 1, got {float(targets[wrong][0])}")
        return targets.float()

    def cell_losses(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> CellLosses:
        """Return the binary cross-entropy of each labelled cell (row, label)."""
        import torch
        from torch.nn import functional as F

        present = ~torch.isnan(targets)
        weights = weighted(class_weights, logits)
        if weights is not None:
            weights = weights.expand_as(logits)[present]
        wanted = targets[present].to(logits.dtype) * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = F.binary_cross_entropy_with_logits(logits[present], wanted, pos_weight=weights, reduction="none")
        return CellLosses(losses, torch.ones_like(losses), present)

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the sigmoid's ``p (1 - p)``, averaged over rows, as a share of all cells."""
        probabilities = logits.sigmoid()
        return (probabilities * (1 - probabilities)).mean(dim=0) / self.outputs

    def balanced_weights(self, targets: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return negatives / positives per label; 1 for a label without either. A probability counts in parts."""
        import torch

        weights = torch.ones(len(targets)) if sample_weight is None else sample_weight
        by_row = weights.double().unsqueeze(1)
        positives, negatives = ((by_row * part).nansum(dim=0) for part in (targets, 1 - targets))
        both = (positives > 0) & (negatives > 0)
        return torch.where(both, negatives / torch.where(both, positives, 1.0), 1.0).float()

    def target_scores(self, targets: np.ndarray) -> np.ndarray:
        """Return the targets: they are such numbers."""
        return targets

    def raw_scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the sigmoid (rows, labels)."""
        # tanh does not overflow where exp(-logit) would.
        probabilities: np.ndarray = 0.5 * (1.0 + np.tanh(0.5 * logits))
        return probabilities

    def raw_logits(self, scores: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Return ``log p - log(1 - p)`` (rows, labels)."""
        logits: np.ndarray = logarithm(scores, least) - logarithm(1 - scores, least)
        return logits

    def check_decision(self, decision: Decision) -> None:
        """Check that there is one threshold per label."""
        super().check_decision(decision)
        if decision.thresholds is not None and len(decision.thresholds) != self.outputs:
            raise HeadError(
                f"MultiLabel: thresholds must have one number for each of {self.outputs} labels, got "
                f"{len(decision.thresholds)}"
            )

    def chosen(self, scores: np.ndarray, decision: Decision) -> np.ndarray:
        """Return booleans (rows, labels): whether each probability reaches its label's threshold."""
        given = decision.thresholds
        thresholds = DEFAULT_THRESHOLD if given is None else np.array(given, dtype=scores.dtype)
        chosen: np.ndarray = scores >= thresholds
        return chosen

    def prediction(self, logits: np.ndarray, scores: np.ndarray, decision: Decision) -> Prediction:
        """Return the labels whose probability reaches their threshold."""
        chosen = tuple(self.labels[k] for k in np.flatnonzero(self.chosen(scores, decision)).tolist())
        return Prediction(labels=chosen, scores=self.named(scores))

    def table_columns(
        self, head: str, logits: Any, scores: Any, decision: Decision, all_scores: bool
    ) -> dict[str, Column]:
        """Return ``{head}_labels`` (lists), ``{head}_score`` (the largest) and, if asked, one column per label."""
        chosen = self.chosen(scores, decision)
        columns: dict[str, Column] = {
            f"{head}_labels": [[self.labels[k] for k in np.flatnonzero(row).tolist()] for row in chosen],
            f"{head}_score": scores.max(axis=1),
        }
        return columns | self.score_columns(head, scores) if all_scores else columns


def _without_shares(cells: Sequence[object], shares: Sequence[object]) -> list[object]:
    """Return the cells that are neither missing nor mappings of labels to probabilities."""
    return [cell for cell, own in zip(cells, shares, strict=True) if own is None and not is_missing(cell)]
