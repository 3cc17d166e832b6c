"""Every head kind is in every table that evaluation reads, and every metric has its formula."""

from __future__ import annotations

import numpy as np
import pytest

import manyheads as mh
from manyheads.evaluation.baselines.models import MODELS
from manyheads.evaluation.kinds import MEASURES, LabelMetrics, measures_of, worst_first
from manyheads.evaluation.metric_facts import METRICS
from manyheads.evaluation.scored_rows import scored_rows
from manyheads.heads import KINDS, NEUTRAL, HeadSpec, Ragged

LABELS = ["a", "b", "c"]
SPECS: dict[str, HeadSpec] = {
    "multiclass": mh.Multiclass(LABELS),
    "multilabel": mh.MultiLabel(LABELS),
    "ordinal": mh.Ordinal(LABELS),
    "regression": mh.Regression(),
    "count": mh.Count(),
    "tokens": mh.Tokens(LABELS, scheme="plain"),
}


def test_every_kind_is_in_every_table() -> None:
    assert set(KINDS) == set(SPECS) == set(MEASURES) == set(MODELS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_logits_of_scores_give_these_scores(kind: str) -> None:
    spec, draw = SPECS[kind], np.random.default_rng(0)
    scores = draw.uniform(0.05, 0.95, (20, spec.score_width))
    if kind in ("multiclass", "ordinal", "tokens"):
        scores /= scores.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(spec.scores(spec.raw_logits(scores), NEUTRAL), scores, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_has_a_formula_and_training_knows_those_it_gives(kind: str) -> None:
    spec, draw = SPECS[kind], np.random.default_rng(0)
    logits = draw.normal(0, 1, (20, spec.outputs)).astype(np.float32)
    targets = {
        "multilabel": draw.integers(0, 2, (20, 3)).astype(np.float32),
        "regression": draw.normal(0, 1, 20).astype(np.float32),
        "count": draw.integers(0, 5, 20).astype(np.float32),
    }.get(kind, draw.integers(0, 3, 20))
    if spec.by_word:
        logits, targets = (Ragged(values, np.array([0, 5, 20])) for values in (logits, targets))
    measures = measures_of(scored_rows(spec, targets, logits))
    assert set(measures.metrics) <= set(METRICS)
    assert {*measures.short, measures.slice_metric, spec.main_metric} <= set(measures.metrics)
    assert {measures.slice_metric, spec.main_metric} <= set(measures.from_sums(measures.sums.total()))


def test_a_label_that_nothing_is_known_of_is_not_the_worst() -> None:
    unseen = LabelMetrics("unseen", 0, 0, 0.0, 0.0, 0.0)
    rare, common = LabelMetrics("rare", 0, 1, 0.0, 0.0, 0.0), LabelMetrics("common", 9, 2, 0.0, 0.0, 0.0)
    good = LabelMetrics("good", 5, 5, 1.0, 1.0, 1.0)
    assert worst_first([unseen, rare, good, common]) == [common, rare, good, unseen]
