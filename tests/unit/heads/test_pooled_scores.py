"""Scores of windows become those of a text by the rule of each kind of head."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.heads import HeadSpec, RowLogits
from manyheads.heads.windows import Windows
from tests.unit.evaluation.test_kinds import SPECS

# Texts of 1, 3, 1 and 2 windows.
WINDOWS = Windows(np.array([0, 1, 4, 5, 7]))
TEXTS = [slice(0, 1), slice(1, 4), slice(4, 5), slice(5, 7)]


def draw(spec: HeadSpec) -> np.ndarray:
    # Logits as far apart as those of well trained heads, and farther.
    return np.random.default_rng(0).normal(0, 6, (7, spec.outputs)).astype(np.float32)


def largest(kind: str, scores: np.ndarray) -> Any:
    """Return the answer for ``"max"``, by hand."""
    if kind == "ordinal":  # P(y > k) is that of the window where it is largest
        beyond = [scores[:, k:].sum(axis=1).max() for k in range(3)]
        return [beyond[0] - beyond[1], beyond[1] - beyond[2], beyond[2]]
    best = scores.max(axis=0)
    return best / best.sum() if kind == "multiclass" else best


@pytest.mark.parametrize("kind", [kind for kind, spec in SPECS.items() if not spec.by_word])
def test_raw_scores_are_pooled(kind: str) -> None:
    spec, logits = SPECS[kind], draw(SPECS[kind])
    scores = spec.raw_scores(logits.astype(np.float64))
    for pool in ("mean", "max"):
        found = spec.logits_of_texts(RowLogits(logits), WINDOWS, pool).values
        assert found.dtype == np.float32
        assert np.array_equal(found[[0, 2]], logits[[0, 4]]), "a text in one window keeps its logits"
        expected = [scores[text].mean(axis=0) if pool == "mean" else largest(kind, scores[text]) for text in TEXTS]
        np.testing.assert_allclose(spec.raw_scores(found)[[1, 3]], [expected[1], expected[3]], atol=1e-5, rtol=1e-5)


def test_the_highest_window_of_an_ordinal_head_wins() -> None:
    spec = mh.Ordinal(["low", "middle", "high"])
    logits = spec.raw_logits(np.array([[0.98, 0.01, 0.01], [0.97, 0.02, 0.01], [0.01, 0.02, 0.97]])).astype(np.float32)
    for pool, label in (("mean", 0), ("max", 2)):
        found = spec.logits_of_texts(RowLogits(logits), Windows(np.array([0, 3])), pool)
        assert spec.positions(found.values).tolist() == [label]
