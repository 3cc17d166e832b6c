"""The rows to label next are uncertain, differ from each other, and are not labelled yet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.heads import Ragged
from manyheads.heads.decision import NEUTRAL
from manyheads.labelling.choose import choose_rows
from manyheads.labelling.uncertainty import uncertainty
from tests.laws.oracle import RECORDS, changed, different_texts, headed, rows_read, snapshot

Saved = Callable[[str], Path]


def test_uncertainty_is_that_of_the_closest_decision() -> None:
    one = mh.Multiclass(["a", "b", "c"])
    np.testing.assert_allclose(uncertainty(one, np.array([[0.5, 0.3, 0.2], [1.0, 0, 0]]), NEUTRAL), [0.8, 0])
    several = mh.MultiLabel(["a", "b"])
    decision = mh.Decision(thresholds=[0.2, 0.5])
    np.testing.assert_allclose(uncertainty(several, np.array([[0.6, 1.0], [0.2, 0.0]]), decision), [0.5, 1])
    words = Ragged(np.array([[0.9, 0.1], [0.6, 0.4], [1.0, 0.0]]), np.array([0, 2, 2, 3]))
    np.testing.assert_allclose(uncertainty(mh.Tokens(["O", "x"], scheme="plain"), words, NEUTRAL), [0.8, 0, 0])
    assert uncertainty(mh.Regression(), np.ones((2, 1)), NEUTRAL) is None


def test_each_group_of_equal_rows_gives_one() -> None:
    draw = np.random.default_rng(0)
    centers = np.eye(4)
    group = np.repeat(np.arange(4), 10)
    features = centers[group] + 0.01 * draw.standard_normal((40, 4))
    uncertainties = np.where(np.arange(40) < 40, 0.5 + 0.01 * (group == 2), 0)
    chosen = choose_rows(uncertainties, features, 4, seed=0)
    assert sorted(group[chosen]) == [0, 1, 2, 3]
    assert group[chosen[0]] == 2  # the most uncertain first
    certain = choose_rows(np.concatenate([uncertainties, np.zeros(400)]), np.tile(features, (11, 1)), 4, seed=0)
    assert (certain < 40).all()


@pytest.mark.parametrize("count", [1, 3, 12])
def test_equal_features_still_give_as_many_rows_as_asked(count: int) -> None:
    chosen = choose_rows(np.linspace(0, 1, 12), np.ones((12, 3)), count, seed=0)
    assert len(set(chosen.tolist())) == count


@pytest.fixture(scope="module")
def trained(saved: Saved) -> mh.HeadedModel:
    specs: dict[str, Any] = {
        "urgency": mh.Multiclass(labels=["routine", "urgent", "emergency"]),
        "symptoms": mh.MultiLabel(labels=["pain", "fever", "cough"], reads=mh.Lexical()),
        "found": mh.Tokens(labels=["symptom", "place"]),
        "age": mh.Regression(),
    }
    model = headed(saved("bert"), specs)
    mh.train(model, RECORDS, "text", mh.Frozen(cache=None, dtype="float32", l2=0.1))
    return model


@pytest.mark.parametrize("heads", [None, ["symptoms"], ["found"]])
def test_positions_are_of_different_texts_from_one_pass(trained: mh.HeadedModel, heads: list[str] | None) -> None:
    texts = ["", *different_texts(12), "mild cough", " MILD cough", "  "]
    before = snapshot(trained.core)
    with rows_read(trained.backbone) as read:
        chosen = mh.next_to_label(trained, texts, 10, heads, cache=None)
    assert len(set(chosen)) == 10
    assert sum(read) == 13
    assert {0, 14, 15}.isdisjoint(chosen)
    assert chosen == mh.next_to_label(trained, texts, 10, heads)
    assert changed(trained.core, before) == []


def test_wrong_arguments_are_one_line(trained: mh.HeadedModel, saved: Saved) -> None:
    texts = ["mild cough", "mild cough", "some fever"]
    for count in (0, 3, True, 1.5):
        with pytest.raises(mh.errors.DataError, match="from 1 to 2"):
            mh.next_to_label(trained, texts, count)  # type: ignore[arg-type]
    with pytest.raises(mh.errors.HeadError, match="predicts labels"):
        mh.next_to_label(trained, texts, 1, heads=["age"])
    with pytest.raises(mh.errors.UnknownHeadError):
        mh.next_to_label(trained, texts, 1, heads=["x"])
    untrained = headed(saved("bert"), {"urgency": mh.Multiclass(["a", "b"])})
    with pytest.raises(mh.errors.HeadError, match="'urgency': is untrained"):
        mh.next_to_label(untrained, texts, 1)
