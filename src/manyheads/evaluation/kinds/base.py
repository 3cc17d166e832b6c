"""What the answers of every kind of head are measured by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from manyheads.evaluation.kinds.label_scores import LabelScores
from manyheads.evaluation.row_sums import RowSums, Sums
from manyheads.evaluation.scored_rows import ScoredRows

# Probabilities are at least this far from 0 and 1 in a logarithm, as in scikit-learn.
LEAST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class LabelMetrics:
    """How well one label is predicted.

    Attributes:
        label: The label.
        rows: Number of rows (words, entities) that have it: its support.
        predicted: Number of rows for which it was predicted.
        precision: ``right / predicted``; 0 if it was never predicted.
        recall: ``right / rows``; 0 if no row has it.
        f1: ``2 right / (rows + predicted)``.
        roc_auc: Probability that a row with the label has a higher score than one without; ``None`` without both.
        average_precision: Mean precision over the rows with the label, from high to low scores; ``None`` without any.
        threshold: The probability from which on it is predicted, for heads with several labels per text.
    """

    label: object
    rows: int
    predicted: int
    precision: float
    recall: float
    f1: float
    roc_auc: float | None = None
    average_precision: float | None = None
    threshold: float | None = None


def worst_first(labels: Iterable[LabelMetrics]) -> list[LabelMetrics]:
    """Return labels by their F1, the smallest and then the most frequent first; those that no row has, and that were
    never predicted, come last.
    """
    return sorted(labels, key=lambda one: (one.rows + one.predicted == 0, one.f1, -one.rows))


@dataclass(frozen=True, eq=False)
class Statements:
    """Probabilities that a head states, and what came true: what calibration is about.

    Attributes:
        unit: What the probabilities are of, such as ``"predicted labels"``.
        probabilities: (statements,).
        true: (statements,) booleans.
    """

    unit: str
    probabilities: np.ndarray
    true: np.ndarray


class Measures(ABC):
    """What one head's answers are measured by.

    Args:
        rows: The head's scores of labelled rows, at least one.
    """

    # The metrics that training gives, in their order.
    short: ClassVar[tuple[str, ...]]
    # The metric by which slices are compared.
    slice_metric: ClassVar[str]
    # The answers: positions of labels or numbers (items,), or booleans (rows, labels).
    predicted: np.ndarray

    def __init__(self, rows: ScoredRows) -> None:
        self.rows = rows

    @property
    @abstractmethod
    def sums(self) -> RowSums:
        """The numbers of each row from which ``from_sums`` computes metrics."""

    @abstractmethod
    def from_sums(self, sums: Sums) -> dict[str, np.ndarray]:
        """Return metrics (draws,) by name, from the sums of any rows; NaN where undefined."""

    @property
    @abstractmethod
    def right(self) -> np.ndarray:
        """(rows,) booleans: whether the answer equals the label."""

    @property
    @abstractmethod
    def mistake_scores(self) -> np.ndarray:
        """(rows,) the ``score`` of ``Mistake``, by which mistakes are sorted, the largest first."""

    @abstractmethod
    def described(self, row: int) -> tuple[Any, Any]:
        """Return the label of a row and the answer, as people read them."""

    @property
    def counts_as_right_or_wrong(self) -> bool:
        """Whether an answer is either right or wrong, so that joint accuracy counts it."""
        return True

    def from_ranks(self) -> dict[str, float]:
        """Return metrics of the order of scores, which no sum over rows gives."""
        return {}

    def by_label(self) -> Sequence[LabelMetrics]:
        """Return metrics of each label; none for numbers."""
        return ()

    @property
    def label_scores(self) -> Sequence[LabelScores]:
        """The scores of each label against all others; none for numbers and words."""
        return ()

    def numbers(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the true and the predicted number of each row (rows,), or ``None`` for kinds with labels."""
        return None

    def confusion(self) -> np.ndarray | None:
        """Return counts (true label, predicted label), or ``None`` if an item has not exactly one label."""
        return None

    def statements(self) -> Statements | None:
        """Return the probabilities that the head states, or ``None`` if it states none."""
        return None

    def confidence(self) -> np.ndarray | None:
        """Return (rows,) by which rows would be left unanswered, the lowest first, or ``None``."""
        return None

    def abstained(self) -> np.ndarray | None:
        """Return (rows,) booleans: whether the head abstains; ``None`` if its decision never does."""
        return None

    def sets(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return whether each row's prediction set contains its label, booleans (rows,), and the sizes of the sets
        (rows,); ``None`` if the decision has no sets.
        """
        return None

    def label_positions(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return the positions of each row's label, of the label that the head favors, and of the one that it decides
        on, or ``None`` for kinds without costs.
        """
        return None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """All metrics of all rows."""
        return {name: float(value[0]) for name, value in self.from_sums(self.sums.total()).items()} | self.from_ranks()
