"""What the kinds with named labels have in common: the labels themselves, and a probability for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from manyheads.heads.base import Column, HeadSpec
from manyheads.heads.labels import checked_labels


@dataclass(frozen=True)
class LabelledSpec(HeadSpec):
    """A head with one logit per named label.

    Args:
        labels: Label names (str, int, float or bool, all different), in the order of the logits.
    """

    least_labels: ClassVar[int]

    labels: Sequence[object]

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", checked_labels(self._owner, self.labels, self.least_labels))
        super().__post_init__()

    @property
    def outputs(self) -> int:
        """Number of labels."""
        return len(self.labels)

    def named(self, scores: np.ndarray) -> dict[object, float]:
        """Return one row's scores (labels,) by label."""
        return dict(zip(self.labels, scores.tolist(), strict=True))

    def score_columns(self, head: str, scores: np.ndarray) -> dict[str, Column]:
        """Return one column per label of (rows, labels) scores."""
        return {f"{head}_score_{label}": scores[:, place] for place, label in enumerate(self.labels)}
