"""No text stands on two sides; the same seed gives the same parts."""

from __future__ import annotations

import numpy as np
import pytest

from manyheads.data.split import folds_by_text, split_by_text
from manyheads.errors import DataError


def texts_with_repeats(seed: int, rows: int = 200) -> list[str]:
    numbers = np.random.default_rng(seed).integers(0, 80, rows)
    return [(" Text %d " if number % 2 else "text %d") % number for number in numbers]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.99])
def test_a_text_stands_on_one_side(seed: int, fraction: float) -> None:
    texts = [text if row % 3 else text.upper() for row, text in enumerate(texts_with_repeats(seed))]
    train, evaluated = split_by_text(texts, fraction, seed)
    sides = [{texts[row].strip().casefold() for row in side} for side in (train, evaluated)]
    assert not sides[0] & sides[1]
    assert sorted([*train, *evaluated]) == list(range(200))
    for side in (train, evaluated):
        assert side.size
        assert side.dtype == np.int64
        assert (np.diff(side) > 0).all()


def test_the_share_is_exact_where_texts_differ() -> None:
    train, evaluated = split_by_text([str(row) for row in range(1000)], 0.1, 0)
    assert (len(train), len(evaluated)) == (900, 100)


def test_the_seed_decides() -> None:
    texts = texts_with_repeats(1)
    first, again, other = (split_by_text(texts, 0.2, seed)[1] for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pairs_are_one_text() -> None:
    pairs = [("a", "b"), ("A ", "b"), ("a", "c"), ("b", "a")]
    train, evaluated = split_by_text(pairs, 0.3, 0)
    assert ({0, 1} <= set(train)) or ({0, 1} <= set(evaluated))


def test_groups_larger_than_the_share() -> None:
    train, evaluated = split_by_text(["a"] * 10 + ["b"] * 6, 0.1, 0)
    assert train.tolist() == list(range(10))
    assert evaluated.tolist() == list(range(10, 16))


def test_two_rows() -> None:
    assert [len(side) for side in split_by_text(["a", "b"], 0.9, 0)] == [1, 1]


@pytest.mark.parametrize("texts", [[], ["a"], ["a", " A"]])
def test_too_few_texts(texts: list[str]) -> None:
    with pytest.raises(DataError, match="two different texts"):
        split_by_text(texts, 0.1, 0)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 10, float("nan")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        split_by_text(["a", "b"], fraction, 0)


@pytest.mark.parametrize("seed", range(5))
def test_folds(seed: int) -> None:
    texts = texts_with_repeats(seed)
    folds = folds_by_text(texts, 5, seed)
    assert folds.shape == (200,)
    assert folds.dtype == np.int64
    assert len({(text.strip().casefold(), fold) for text, fold in zip(texts, folds, strict=True)}) == len(
        {text.strip().casefold() for text in texts}
    )
    counts = np.bincount(folds, minlength=5)
    assert counts.max() - counts.min() <= 2
    assert np.array_equal(folds, folds_by_text(texts, 5, seed))


def test_every_fold_has_a_text() -> None:
    assert sorted(folds_by_text(["a", "a", "a", "b", "c"], 3, 0)[2:]) == [0, 1, 2]


@pytest.mark.parametrize("folds", [0, 1, 4])
def test_number_of_folds_out_of_range(folds: int) -> None:
    with pytest.raises(DataError, match="number of folds"):
        folds_by_text(["a", "b", "c"], folds, 0)


def test_classes_are_spread_evenly_over_folds() -> None:
    texts = [f"text {row}" for row in range(90)]
    classes = [frozenset({row % 9}) for row in range(90)]
    folds = folds_by_text(texts, 5, 0, classes)
    counts = [[int(((folds == fold) & (np.arange(90) % 9 == label)).sum()) for fold in range(5)] for label in range(9)]
    assert counts == [[2] * 5] * 9
