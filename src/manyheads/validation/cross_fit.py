"""Predict every labelled row of a table by heads that were trained without its fold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from manyheads.core import HeadedCore
from manyheads.data.labelled import Reading
from manyheads.errors import MethodError
from manyheads.heads import Head
from manyheads.runtime.processes import process_count
from manyheads.training.dataset import Evaluation, TrainingData
from manyheads.training.method import Method
from manyheads.training.prepare import Prepared, prepare
from manyheads.training.train import check_settings, chosen_heads
from manyheads.types import Tokenizer
from manyheads.validation.fold_predictions import FoldPredictions, predict_folds
from manyheads.validation.folds import check_whole, divided, rare_label_notes


@dataclass(frozen=True, eq=False)
class Trainings:
    """A method, and the rows of a table that it can be trained on any number of times.

    Attributes:
        core: The backbone and all heads.
        names: The heads to train.
        method: The method, on what its trainings share.
        prepared: All labelled rows, as training rows.
    """

    core: HeadedCore
    names: Sequence[str]
    method: Method
    prepared: Prepared

    @property
    def heads(self) -> Mapping[str, Head]:
        """The heads to train."""
        return self.core.heads.chosen(self.names)

    def folds(self, folds: int, seed: int) -> list[TrainingData]:
        """Return the rows once per fold; see ``divided``."""
        return divided(self.prepared.data, self.heads, folds, seed)

    def predictions(self, parts: Sequence[TrainingData]) -> dict[str, FoldPredictions]:
        """Return the predictions of each part's evaluation rows; see ``predict_folds``."""
        return predict_folds(self.method, self.core, self.names, parts)


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Out-of-fold predictions of a table.

    Attributes:
        prepared: The rows.
        predictions: Head name -> its predictions.
        notes: Sentences for the user.
    """

    prepared: Prepared
    predictions: Mapping[str, FoldPredictions]
    notes: Sequence[str]


def cross_fit(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    method: Method,
    heads: Iterable[str] | None,
    reading: Reading,
    folds: int,
    seed: int,
) -> CrossFit:
    """Return out-of-fold predictions; the arguments are those of ``cross_validate``."""
    check_whole("folds", folds, 2)
    trainings = prepare_trainings(core, tokenizer, data, method, heads, reading, seed)
    notes = [*trainings.prepared.notes, *rare_label_notes(trainings.prepared.data, trainings.heads, folds)]
    return CrossFit(trainings.prepared, trainings.predictions(trainings.folds(folds, seed)), notes)


def prepare_trainings(
    core: HeadedCore,
    tokenizer: Tokenizer,
    data: object,
    method: Method,
    heads: Iterable[str] | None,
    reading: Reading,
    seed: int,
) -> Trainings:
    """Read a table for several trainings.

    Raises:
        HeadError: there is no head, or one reads an untrained head.
        MethodError: several processes, or a method that chooses by the rows that a fold tests.
    """
    evaluation = Evaluation(None, 0.0, seed)
    check_settings(evaluation)
    chosen = chosen_heads(core, heads)
    if process_count() > 1:
        raise MethodError("Cross-validation runs in one process; start it without torchrun")
    if method.chooses_by_evaluation:
        raise MethodError(
            f"{type(method).__name__}: best_by chooses the epoch on the rows that a fold tests; leave best_by out"
        )
    prepared = prepare(core, tokenizer, data, chosen, reading, evaluation, method.other_texts)
    shared = method.for_parts(core, chosen, prepared.data)
    return Trainings(core, list(chosen), shared, prepared)
