"""What a head has to beat on the same rows, and whether it does.

With training rows, baselines are fitted on them. Without, they are fitted on the evaluated rows themselves, which
favors the baselines: the constant answer is the best one of these rows, and the model of words is cross-validated on
them, with equal texts in one fold.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from manyheads.data.split import folds_by_text, text_groups
from manyheads.evaluation.answers import Answers
from manyheads.evaluation.baselines.models import MODELS, BaselineModel
from manyheads.evaluation.baselines.rows import TrainingRows
from manyheads.evaluation.kinds import Measures, measures_of
from manyheads.evaluation.metric_facts import is_better
from manyheads.evaluation.resamples import Interval, Resamples, interval
from manyheads.heads import NEUTRAL, Decision, HeadSpec, Ragged

_FOLDS = 5
# The step between the thresholds that are tried, for baselines with several labels per row.
_STEPS = 100


@dataclass(frozen=True)
class Baseline:
    """A baseline of one head on the same rows.

    Attributes:
        name: ``"majority"``, ``"tfidf"``, or ``"words"`` for heads that label words.
        about: What it is and what it was fitted on.
        metrics: Its metrics.
        metric: The head's main metric.
        gain: The head's main metric minus the baseline's.
        interval: 95% interval of the gain, by the same resamples of texts for both.
        beaten: Whether the whole interval is an improvement.
    """

    name: str
    about: str
    metrics: dict[str, float]
    metric: str
    gain: float
    interval: Interval | None
    beaten: bool


def baselines_of(
    measures: Measures, evaluated: TrainingRows, resamples: Resamples, train: TrainingRows | None
) -> tuple[Baseline, ...]:
    """Return the baselines of one head.

    Args:
        measures: Those of the head.
        evaluated: The same rows, with their labels.
        resamples: Of the same rows.
        train: Labelled training rows, or ``None``.
    """
    spec = measures.answers.spec
    place = "the evaluated rows" if train is None else "the training rows"
    constant = _constant_scores(spec, evaluated if train is None else train, len(evaluated), measures.answers)
    found = [_compared("majority", f"the labels' shares in {place} for every text", constant, measures, resamples)]
    model = MODELS[spec.kind]
    scores = _cross_validated(model, spec, evaluated) if train is None else model(spec, train).scores(evaluated)
    if scores is not None:
        how = f"cross-validated on {place}" if train is None else f"fitted on {place}"
        found.append(_compared(model.name, f"{model.about}, {how}", scores, measures, resamples))
    return tuple(found)


def _compared(name: str, about: str, scores: Any, measures: Measures, resamples: Resamples) -> Baseline:
    own = measures.answers
    answers = Answers(own.spec, own.targets, scores, _decision(own.spec, own.targets, scores), own.further)
    baseline, metric = measures_of(answers), own.spec.main_metric
    metrics = baseline.metrics()
    gain = measures.metrics()[metric] - metrics[metric]
    draws = resamples.metrics(measures)[metric] - resamples.metrics(baseline)[metric]
    ends = interval(draws)
    beaten = ends is not None and is_better(metric, ends.low) and is_better(metric, ends.high)
    return Baseline(name, about, metrics, metric, gain, ends, beaten)


def _constant_scores(spec: HeadSpec, rows: TrainingRows, count: int, answers: Answers) -> Any:
    """Return the same scores for every row, or word: the mean of the labelled rows' scores as they should be."""
    items = rows.targets.items().targets
    mean = spec.target_scores(items).astype(np.float64).mean(axis=0)
    constant = np.pad(mean, (0, spec.score_width - len(mean))).astype(np.float32)
    if isinstance(answers.scores, Ragged):
        return Ragged(np.tile(constant, (len(answers.scores.values), 1)), answers.scores.offsets)
    return np.tile(constant, (count, 1))


def _cross_validated(model: type[BaselineModel], spec: HeadSpec, rows: TrainingRows) -> Any:
    """Return the scores of each row by a model that was fitted without its text, or ``None`` with one text only."""
    folds = min(_FOLDS, len(text_groups(rows.texts)[1]))
    if folds < 2 or not any(map(_has_text, rows.texts)):
        return None
    fold_of = folds_by_text(rows.texts, folds, 0, rows.targets.classes())
    held_out = [np.flatnonzero(fold_of == fold) for fold in range(folds)]
    parts = [model(spec, rows.take(np.flatnonzero(fold_of != fold))) for fold in range(folds)]
    scores = [part.scores(rows.take(own)) for part, own in zip(parts, held_out, strict=True)]
    back = np.argsort(np.concatenate(held_out), kind="stable")
    return Ragged.joined(scores).take(back) if isinstance(scores[0], Ragged) else np.concatenate(scores)[back]


def _has_text(text: Any) -> bool:
    return bool(text.strip()) if isinstance(text, str) else any(map(str.strip, text))


def _decision(spec: HeadSpec, targets: Any, scores: Any) -> Decision:
    """Return the decision of a baseline: with several labels per row, the one threshold for all labels that has the
    largest F1 on the evaluated rows, since the head's thresholds are fitted too.
    """
    if not spec.has_thresholds:
        return NEUTRAL
    positive = targets >= 0.5
    best, best_f1 = 0.5, -1.0
    for threshold in np.arange(1, _STEPS) / _STEPS:
        chosen = scores >= np.float32(threshold)
        f1 = 2 * (chosen & positive).sum() / max(chosen.sum() + positive.sum(), 1)
        if f1 > best_f1:
            best, best_f1 = float(threshold), f1
    return replace(NEUTRAL, thresholds=[best] * spec.score_width)
