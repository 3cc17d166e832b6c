"""Train a method several times, each time without some rows, and predict these rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from manyheads.core import HeadedCore
from manyheads.evaluation.scored_rows import ScoredRows, joined_rows, labelled_rows, scored_rows
from manyheads.heads import Decision, HeadSpec, Logits, Targets
from manyheads.heads.decision import DEFAULT_THRESHOLD
from manyheads.runtime.progress import progress_bar
from manyheads.training.dataset import TrainingData
from manyheads.training.meanwhile import trained_meanwhile
from manyheads.training.method import Method


@dataclass(frozen=True, eq=False)
class FoldPredictions:
    """One head's predictions of rows that it was not trained on.

    Attributes:
        spec: The head's spec.
        rows: (rows,) row numbers in the training data, ascending.
        part_of: (rows,) the training that each row was left out of, from 0.
        logits: Their logits.
        decisions: The decision of each training.
    """

    spec: HeadSpec
    rows: np.ndarray
    part_of: np.ndarray
    logits: Logits
    decisions: Sequence[Decision]

    def scored(self, targets: Targets) -> ScoredRows:
        """Return the rows with a label, each scored and decided as its training's decision says.

        Args:
            targets: The targets of these rows.
        """
        labelled = labelled_rows(targets.values)
        part_of = self.part_of[labelled]
        places = [labelled[part_of == part] for part in np.unique(part_of)]
        parts = [
            scored_rows(self.spec, targets.take(own).values, self.logits.take(own).values, self.decisions[part])
            for part, own in zip(np.unique(part_of).tolist(), places, strict=True)
        ]
        return joined_rows(parts, np.argsort(np.concatenate(places)), mean_decision(self.decisions))


def mean_decision(decisions: Sequence[Decision]) -> Decision:
    """Return a decision with the mean temperature and thresholds of several trainings, to be shown."""
    temperature = float(np.exp(np.mean(np.log([decision.temperature for decision in decisions]))))
    given = [decision.thresholds for decision in decisions if decision.thresholds is not None]
    if not given:
        return replace(decisions[0], temperature=temperature)
    default = [DEFAULT_THRESHOLD] * len(given[0])
    thresholds = np.mean([decision.thresholds or default for decision in decisions], axis=0)
    return replace(decisions[0], temperature=temperature, thresholds=thresholds.tolist())


def predict_folds(
    method: Method, core: HeadedCore, names: Iterable[str], parts: Sequence[TrainingData]
) -> dict[str, FoldPredictions]:
    """Return the predictions of each part's evaluation rows by heads trained on its training rows.

    Every training is the method's whole procedure, from the heads' specs on. The model is unchanged: copies of its
    heads are trained, and a backbone that a method tunes is restored.

    Args:
        method: The method; see ``Method.for_parts``.
        core: The backbone and all heads.
        names: The heads to train.
        parts: Training and evaluation rows of each training, of the same texts.
    """
    trial = core.with_copied_heads()
    heads = trial.heads.chosen(names)
    logits: list[Mapping[str, Logits]] = []
    decisions: list[Mapping[str, Decision]] = []
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        progress_bar("Cross-validating", len(parts), "trainings") as advance,
    ):
        for part in parts:
            with trained_meanwhile(method, trial, heads, part) as outcome:
                logits.append(outcome.logits)
                decisions.append({name: head.decision for name, head in heads.items()})
            advance(1)
    rows = np.concatenate([part.evaluate for part in parts])
    part_of = np.repeat(np.arange(len(parts)), [len(part.evaluate) for part in parts])
    order = np.argsort(rows, kind="stable")
    return {
        name: FoldPredictions(
            head.spec,
            rows[order],
            part_of[order],
            head.spec.logits_type.joined([found[name] for found in logits]).take(order),
            [found[name] for found in decisions],
        )
        for name, head in heads.items()
    }
