"""Multi-class: exactly one of several labels per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from manyheads.errors import HeadError
from manyheads.heads.base import LEAST_SCORE, CellLosses
from manyheads.heads.cells.cells import is_missing
from manyheads.heads.cells.labels import LabelIndex
from manyheads.heads.cells.shares import shares_in
from manyheads.heads.kinds.one_label import OneLabelSpec
from manyheads.heads.kinds.softmax import cross_entropies, curvature, logarithm, softmax
from manyheads.heads.targets import RowTargets, ShareTargets, Targets
from manyheads.runtime.lists import plain
from manyheads.types import MISSING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, repr=False)
class Multiclass(OneLabelSpec):
    """Exactly one of several labels per text; softmax and cross-entropy (``torch.nn.functional.cross_entropy``).

    A cell is a label, or a mapping of labels to shares such as ``{"low": 0.7, "high": 0.3}`` or votes such as
    ``{"low": 2, "high": 1}``, which are divided by their sum. Labels that it does not name have none, and a mapping
    that names none is a missing label. The loss is then the expected log loss, as if the row occurred once per label
    with the share as its weight. Metrics compare with the label of the largest share, the first of equal ones;
    ``log_loss`` uses all shares.

    Args:
        labels: At least two label names, in the order of the logits.
        zero_shot: Whether the head predicts without training, by the logits of its labels' words as the next token
            after the text or the prompt, minus the logits of an empty text (contextual calibration, Zhao et al. 2021).
            Needs a causal language model and implies ``init="lm_head"``. Training continues from these weights.

    Examples:
        >>> head = model.add_head("risk", mh.Multiclass(labels=["low", "high"], column="urgency", dropout=0.1))
        >>> head.spec.labels
        ('low', 'high')
    """

    kind: ClassVar[str] = "multiclass"
    has_classes: ClassVar[bool] = True
    has_label_words: ClassVar[bool] = True
    least_labels: ClassVar[int] = 2

    zero_shot: bool = field(default=False, kw_only=True)

    def labels_in_cells(self, cells: Sequence[object]) -> list[object]:
        """Return the labels in cells."""
        index, found = LabelIndex(self.labels), list[object]()
        for cell in (cell for cell in cells if not is_missing(cell)):
            shares = shares_in(cell, index)
            found += [plain(cell)] if shares is None else list(shares)
        return found

    def with_further_labels(self, labels: Sequence[object]) -> Multiclass:
        """Return a spec with these labels after its own; its settings for training are the defaults."""
        plain_head = replace(self, zero_shot=False, init="random", label_words=None, class_weights=None)
        return replace(plain_head, labels=[*self.labels, *labels])

    def only_own_labels(self, targets: Targets) -> RowTargets:
        """Return positions (rows,) or shares (rows, labels); rows with any share of further labels are missing."""
        values: np.ndarray = targets.values
        if values.ndim == 1:
            return RowTargets(np.where(values < self.outputs, values, MISSING))
        own, further = values[:, : self.outputs], values[:, self.outputs :].any(axis=1, keepdims=True)
        return ShareTargets(np.where(further, np.float32(np.nan), own))

    def __post_init__(self) -> None:
        if not isinstance(self.zero_shot, bool):
            raise HeadError(f"Multiclass: zero_shot must be True or False, got {self.zero_shot!r}")
        if self.zero_shot:
            object.__setattr__(self, "init", "lm_head")
        super().__post_init__()

    @property
    def main_metric(self) -> str:
        """Accuracy."""
        return "accuracy"

    @property
    def needs_no_training(self) -> bool:
        """Whether it is a zero-shot head."""
        return self.zero_shot

    def cell_losses(self, logits: Tensor, targets: Tensor, class_weights: Tensor | None) -> CellLosses:
        """Return the cross-entropy of each row; class weights and smoothing act as in ``cross_entropy``."""
        return cross_entropies(logits, targets, class_weights, self.label_smoothing)

    def curvature(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the softmax's ``p (1 - p)``, averaged over rows."""
        return curvature(logits)

    def raw_scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the softmax (rows, labels)."""
        return softmax(logits)

    def raw_logits(self, scores: np.ndarray, least: float = LEAST_SCORE) -> np.ndarray:
        """Return the logarithms (rows, labels)."""
        return logarithm(scores, least)

    def largest_scores(self, scores: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Return the largest probability of each label, divided by their sum."""
        largest = super().largest_scores(scores, firsts)
        divided: np.ndarray = largest / largest.sum(axis=1, keepdims=True)
        return divided

    def positions(self, logits: np.ndarray) -> np.ndarray:
        """Return the positions of the most probable labels: those of the largest logits."""
        places: np.ndarray = logits.argmax(axis=-1)
        return places
