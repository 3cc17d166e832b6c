"""A head's predictions of the rows of a table, and the ones that are wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from manyheads.data.unknown_labels import UnknownLabels
from manyheads.evaluation.baselines import TrainingRows
from manyheads.evaluation.kinds import Measures, measures_of
from manyheads.evaluation.scored_rows import ScoredRows, labelled_rows, scored_rows
from manyheads.heads import NEUTRAL, Decision, HeadSpec, Ragged, Targets
from manyheads.runtime.words import Place


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction.

    Attributes:
        row: The row's number (from 0) in its table.
        text: The text, or the pair of texts.
        truth: The label, labels or number in the table.
        prediction: The predicted one.
        score: Probability of the predicted label; for several labels, the largest error of a probability; for numbers,
            the absolute error.

    Examples:
        >>> result = mh.train(model, table, text="note", eval_fraction=0.25)
        >>> all(mistake.truth != mistake.prediction for mistake in result.mistakes("urgency"))
        True
    """

    row: int
    text: Any
    truth: Any
    prediction: Any
    score: float


@dataclass(frozen=True, eq=False)
class EvaluatedRows:
    """A head's predictions of the rows of a table.

    Attributes:
        spec: The head's spec.
        rows: (rows,) their numbers in their table.
        texts: Their texts.
        targets: Their targets.
        logits: Their logits (rows, outputs), or ``Ragged`` with (words, outputs); those of rows without a label may be
            anything.
        decision: The head's decision.
        unknown: Labels of the rows that the head does not have.
        words: For a head that labels words, the characters of each word of each text; ``None`` without, and then there
            is no baseline of words.
    """

    spec: HeadSpec
    rows: np.ndarray
    texts: Sequence[Any]
    targets: Targets
    logits: np.ndarray | Ragged
    decision: Decision = NEUTRAL
    unknown: UnknownLabels | None = None
    words: Sequence[Sequence[Place]] | None = None

    @cached_property
    def labelled(self) -> np.ndarray:
        """Which of the rows have a label, int64 (labelled rows,)."""
        targets = self.targets if self.unknown is None else self.unknown.targets
        return labelled_rows(targets.values)

    @cached_property
    def scored(self) -> ScoredRows:
        """The labelled rows with their scores."""
        return scored_rows(self.spec, self.targets.values, self.logits, self.decision, self.unknown)

    @cached_property
    def measures(self) -> Measures:
        """What the labelled rows are measured by; only where there are any."""
        return measures_of(self.scored)

    def as_training_rows(self) -> TrainingRows:
        """Return the labelled rows, with all labels of the table."""
        targets = self.targets if self.unknown is None else self.unknown.targets
        return TrainingRows(self.texts, targets, self.words).take(self.labelled)

    def mistakes(self, most: int) -> list[Mistake]:
        """Return wrong predictions, the most confident first."""
        if not len(self.labelled):
            return []
        wrong, scores = np.flatnonzero(~self.measures.right), self.measures.mistake_scores
        order = wrong[np.argsort(-scores[wrong], kind="stable")]
        return [self._mistake(at, float(scores[at])) for at in order[:most].tolist()]

    def _mistake(self, at: int, score: float) -> Mistake:
        row = int(self.labelled[at])
        return Mistake(int(self.rows[row]), self.texts[row], *self.measures.described(at), score)
