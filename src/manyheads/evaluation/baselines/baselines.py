"""What a head has to beat on the same rows, and whether it does.

With training rows, baselines are fitted on them. Without, they are fitted on the evaluated rows themselves: the
constant answer is then the best one of these rows, and the model of words is cross-validated on them, with equal texts
in one fold. It has learnt from fewer rows than the head if the evaluated table is the smaller one; training rows make
the comparison fair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyheads.data.split import folds_by_text, text_groups
from manyheads.evaluation.baselines.models import MODELS, BaselineModel
from manyheads.evaluation.baselines.rows import TrainingRows
from manyheads.evaluation.kinds import Measures, measures_of
from manyheads.evaluation.metric_facts import is_better
from manyheads.evaluation.resamples import Interval, Resamples, interval
from manyheads.evaluation.scored_rows import ScoredRows, scored_rows
from manyheads.heads import NEUTRAL, Decision, HeadSpec, Ragged

_FOLDS = 5
# The step between the thresholds that are tried, for baselines with several labels per row.
_STEPS = 100

# No probability of a baseline is smaller.
_LEAST = 1e-6


@dataclass(frozen=True)
class Baseline:
    """A baseline of one head on the same rows.

    Attributes:
        name: ``"majority"``, ``"tfidf"``, or ``"words"`` for heads that label words.
        about: What it is and what it was fitted on.
        rows: Number of rows that it was fitted on.
        metrics: Its metrics.
        metric: The head's main metric.
        gain: The head's main metric minus the baseline's.
        interval: 95% interval of the gain, by the same resamples of texts for both.
        beaten: Whether the whole interval is an improvement.
    """

    name: str
    about: str
    rows: int
    metrics: dict[str, float]
    metric: str
    gain: float
    interval: Interval | None
    beaten: bool


@dataclass(frozen=True, eq=False)
class _Answer:
    """What a baseline answers: its name, what it is, the number of rows it was fitted on, and its scores."""

    name: str
    about: str
    rows: int
    scores: Any


def baselines_of(
    measures: Measures, evaluated: TrainingRows, resamples: Resamples, train: TrainingRows | None
) -> tuple[Baseline, ...]:
    """Return the baselines of one head, the constant answer first.

    Args:
        measures: Those of the head.
        evaluated: The same rows, with their labels.
        resamples: Of the same rows.
        train: Labelled training rows, or ``None``.
    """
    spec = measures.rows.spec
    answers = [_constant(evaluated if train is None else train, measures.rows, train is None)]
    if not spec.by_word or evaluated.words is not None:
        model = MODELS[spec.kind]
        answers += _cross_validated(model, spec, evaluated) if train is None else _fitted(model, spec, train, evaluated)
    return tuple(_compared(answer, measures, resamples) for answer in answers)


def _compared(answer: _Answer, measures: Measures, resamples: Resamples) -> Baseline:
    own = measures.rows
    baseline, metric = measures_of(_with_scores(own, answer.scores)), own.spec.main_metric
    metrics = baseline.metrics
    gain = measures.metrics[metric] - metrics[metric]
    ends = interval(resamples.metrics(measures)[metric] - resamples.metrics(baseline)[metric])
    beaten = ends is not None and is_better(metric, ends.low) and is_better(metric, ends.high)
    return Baseline(answer.name, answer.about, answer.rows, metrics, metric, gain, ends, beaten)


def _with_scores(rows: ScoredRows, scores: Any) -> ScoredRows:
    """Return the rows with the scores of a baseline, for all labels of the table."""
    spec = rows.spec
    decision = _decision(spec, rows.targets, scores)
    logits = _map(lambda values: spec.raw_logits(values.astype(np.float64), _LEAST), scores)
    return scored_rows(spec, rows.targets, logits, decision)


def _map(function: Callable[[np.ndarray], np.ndarray], values: Any) -> Any:
    return Ragged(function(values.values), values.offsets) if isinstance(values, Ragged) else function(values)


def _constant(rows: TrainingRows, of: ScoredRows, same: bool) -> _Answer:
    """Return the same scores for every row, or word: the mean of the labelled rows' scores as they should be."""
    spec = of.spec
    mean = spec.target_scores(rows.targets.items().targets).astype(np.float64).mean(axis=0)
    constant = np.pad(mean, (0, spec.score_width - len(mean)))
    words = of.targets if isinstance(of.targets, Ragged) else None
    scores = np.tile(constant, (len(of) if words is None else len(words.values), 1))
    answer = "mean" if spec.has_values else "labels' shares"
    about = f"the {answer} of the {len(rows):,} {'evaluated' if same else 'training'} rows, for every text"
    return _Answer("majority", about, len(rows), scores if words is None else Ragged(scores, words.offsets))


def _fitted(model: type[BaselineModel], spec: HeadSpec, train: TrainingRows, evaluated: TrainingRows) -> list[_Answer]:
    """Return the answers of a model of words that was fitted on training rows."""
    about = f"{model.about}, fitted on {len(train):,} training rows"
    return [_Answer(model.name, about, len(train), model(spec, train).scores(evaluated))]


def _cross_validated(model: type[BaselineModel], spec: HeadSpec, rows: TrainingRows) -> list[_Answer]:
    """Return the answers to each row by a model that was fitted without its text; none with one text only."""
    folds = min(_FOLDS, len(text_groups(rows.texts)[1]))
    if folds < 2 or not any(map(_has_text, rows.texts)):
        return []
    fold_of = folds_by_text(rows.texts, folds, 0, rows.targets.classes())
    held_out = [np.flatnonzero(fold_of == fold) for fold in range(folds)]
    parts = [model(spec, rows.take(np.flatnonzero(fold_of != fold))) for fold in range(folds)]
    scores = [part.scores(rows.take(own)) for part, own in zip(parts, held_out, strict=True)]
    back = np.argsort(np.concatenate(held_out), kind="stable")
    joined = Ragged.joined(scores).take(back) if isinstance(scores[0], Ragged) else np.concatenate(scores)[back]
    count = len(rows) - len(rows) // folds
    about = f"{model.about}, cross-validated on the evaluated rows, fitted on about {count:,} of them"
    return [_Answer(model.name, about, count, joined)]


def _has_text(text: Any) -> bool:
    return bool(text.strip()) if isinstance(text, str) else any(map(str.strip, text))


def _decision(spec: HeadSpec, targets: Any, scores: Any) -> Decision:
    """Return the decision of a baseline: with several labels per row, the one threshold for all labels that has the
    largest F1 on the evaluated rows, since the head's thresholds are fitted too.
    """
    if "thresholds" not in spec.decided_by:
        return NEUTRAL
    positive = targets >= 0.5
    best, best_f1 = 0.5, -1.0
    for threshold in np.arange(1, _STEPS) / _STEPS:
        chosen = scores >= threshold
        f1 = 2 * (chosen & positive).sum() / max(chosen.sum() + positive.sum(), 1)
        if f1 > best_f1:
            best, best_f1 = float(threshold), f1
    return Decision(thresholds=[best] * spec.score_width)
