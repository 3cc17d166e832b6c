"""The evaluation rows that a head got wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.heads import NEUTRAL, Decision, HeadSpec, Logits, OneLabelSpec, Targets
from manyheads.heads.decision import DEFAULT_THRESHOLD
from manyheads.heads.kinds import Tokens
from manyheads.heads.kinds.shares import most_probable
from manyheads.heads.ragged import Ragged
from manyheads.types import MISSING


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
    """A head's predictions of the evaluation rows.

    Attributes:
        spec: The head's spec.
        rows: (rows,) their numbers in their table.
        texts: Their texts.
        targets: Their targets.
        logits: Their logits.
        decision: The head's decision.
    """

    spec: HeadSpec
    rows: np.ndarray
    texts: Sequence[Any]
    targets: Targets
    logits: Logits
    decision: Decision = NEUTRAL

    def mistakes(self, most: int) -> list[Mistake]:
        """Return wrong predictions, the most confident first."""
        scores = self.logits.map(lambda logits: self.spec.scores(logits, self.decision))
        found = [
            self._compared(at, self.logits.values[at], scores[at])
            for at in np.flatnonzero(self.targets.labelled).tolist()
        ]
        wrong = [mistake for mistake in found if mistake is not None]
        return sorted(wrong, key=lambda mistake: -mistake.score)[:most]

    def _compared(self, at: int, logits: np.ndarray, scores: np.ndarray) -> Mistake | None:
        target, spec = self.targets[at], self.spec
        labels: Sequence[Any] = getattr(spec, "classes", ())
        if isinstance(spec, OneLabelSpec):
            guess = int(spec.answers(logits[None], scores[None], self.decision).positions[0])
            truth = labels[int(most_probable(self.targets.values[[at]])[0])]
            prediction, score = labels[guess], float(scores[guess])
        elif isinstance(spec, Tokens):
            guesses, present = spec.predicted_classes(Ragged.single(logits)).values, target != MISSING
            truth = tuple(labels[tag] for tag in target[present].tolist())
            prediction = tuple(labels[tag] for tag in guesses[present].tolist())
            score = float(scores.max(axis=1)[present].min(initial=1.0))
        elif spec.has_values:
            truth, prediction = float(target), float(scores[0])
            score = abs(truth - prediction)
        else:
            truth = tuple(labels[place] for place in np.flatnonzero(target >= DEFAULT_THRESHOLD).tolist())
            prediction = spec.prediction(logits, scores, self.decision).labels
            score = float(np.nanmax(np.abs(scores - target)))
        same = truth == prediction
        return None if same else Mistake(int(self.rows[at]), self.texts[at], truth, prediction, score)
