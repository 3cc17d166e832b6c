"""Out-of-fold predictions in the form from which reports are built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from manyheads.evaluation.evaluated_rows import EvaluatedRows
from manyheads.evaluation.kinds import Measures, measures_of
from manyheads.evaluation.kinds.repeated import RepeatedMeasures
from manyheads.evaluation.scored_rows import ScoredRows
from manyheads.runtime.words import Place
from manyheads.training.prepare import Prepared
from manyheads.validation.fold_predictions import FoldPredictions, mean_decision


@dataclass(frozen=True, eq=False)
class OutOfFoldRows(EvaluatedRows):
    """A head's out-of-fold predictions, each scored as the decision of its own training says.

    Attributes:
        repeats: The predictions of each division into folds. Metrics are means over them; everything on single rows is
            that of the first.
    """

    repeats: Sequence[FoldPredictions] = field(kw_only=True)

    @cached_property
    def scored(self) -> ScoredRows:
        """The labelled rows with the scores of the first division."""
        return self.repeats[0].scored(self.targets)

    @cached_property
    def measures(self) -> Measures:
        """What the labelled rows are measured by."""
        first = measures_of(self.scored)
        others = [measures_of(repeat.scored(self.targets)) for repeat in self.repeats[1:]]
        return RepeatedMeasures([first, *others]) if others else first


def out_of_fold_rows(name: str, prepared: Prepared, repeats: Sequence[FoldPredictions]) -> OutOfFoldRows:
    """Return a head's out-of-fold predictions of all rows.

    Args:
        name: The head's name.
        prepared: The rows.
        repeats: The predictions of each division into folds, at least one.
    """
    first, data = repeats[0], prepared.data
    texts = [data.texts[row] for row in first.rows.tolist()]
    return OutOfFoldRows(
        first.spec,
        prepared.train_rows[first.rows],
        texts,
        data.targets[name].take(first.rows),
        first.logits.values,
        mean_decision(first.decisions),
        words=_words(prepared, first) if first.spec.by_word else None,
        repeats=repeats,
    )


def _words(prepared: Prepared, predictions: FoldPredictions) -> list[Sequence[Place]]:
    """Return the characters of the words of each text."""
    words = prepared.data.tokenized.words
    assert words is not None, "a head that labels words has words"
    return [[(start, end) for start, end in words[row].places.tolist()] for row in predictions.rows.tolist()]
