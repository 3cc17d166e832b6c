"""Screening in closed form gives the errors of as many refits as there are rows, each with one row left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from scipy.special import softmax
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

import manyheads as mh
from manyheads.training.searching.comparison import margin, simplest_near_best
from manyheads.training.searching.screening import PENALTY, LeaveOneOutScreening, scaled

ROWS, WIDTH = 40, 6
TAPS = [mh.Hidden(-1, "mean"), mh.Hidden(-2, "max")]


@pytest.fixture(scope="module")
def features() -> dict[mh.Hidden, np.ndarray]:
    draw = np.random.default_rng(0)
    return {tap: draw.normal(5.0, 3.0, size=(ROWS, WIDTH)).astype(np.float32) for tap in TAPS}


@pytest.fixture(scope="module")
def numbers(features: dict[mh.Hidden, np.ndarray]) -> list[np.ndarray]:
    """Two heads: one number with gaps, and three classes."""
    draw = np.random.default_rng(1)
    value = (features[TAPS[0]] @ draw.normal(size=WIDTH) + draw.normal(size=ROWS) + 100.0)[:, None]
    value[::7] = np.nan
    return [value.astype(np.float32), np.eye(3, dtype=np.float32)[draw.integers(3, size=ROWS)]]


def standardized(features: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(StandardScaler().fit_transform(features))


def screening(features: dict[mh.Hidden, np.ndarray], numbers: list[np.ndarray]) -> LeaveOneOutScreening:
    return LeaveOneOutScreening(lambda tap: standardized(features[tap]), numbers)


def centred(numbers: np.ndarray) -> np.ndarray:
    """Return what is learned: distances from the mean row, of mean square one, 0 where missing."""
    apart = numbers.astype(np.float64) - np.nanmean(numbers, axis=0, dtype=np.float64)
    return np.nan_to_num(apart / np.sqrt(np.nansum(apart**2) / len(apart)))


@pytest.mark.parametrize("taps", [TAPS[:1], TAPS[1:], TAPS], ids=["first", "second", "both"])
def test_errors_are_those_of_refits_without_each_row(
    features: dict[mh.Hidden, np.ndarray], numbers: list[np.ndarray], taps: list[mh.Hidden]
) -> None:
    screened = screening(features, numbers)
    found = screened.errors(taps)
    assert found.shape == (2, ROWS)
    standard = np.hstack([StandardScaler().fit_transform(features[tap]) for tap in taps]) / np.sqrt(WIDTH)
    for head, targets in enumerate(numbers):
        wanted = centred(targets)
        for row in range(ROWS):
            others = np.arange(ROWS) != row
            ridge = Ridge(alpha=PENALTY * ROWS, fit_intercept=False).fit(standard[others], wanted[others])
            kernel = KernelRidge(alpha=PENALTY * ROWS).fit(standard[others], wanted[others])
            errors = (wanted[row] - ridge.predict(standard[[row]])[0]) ** 2
            np.testing.assert_allclose(errors, (wanted[row] - kernel.predict(standard[[row]])[0]) ** 2, atol=1e-6)
            expected = np.where(np.isnan(targets[row]), 0.0, errors).sum()
            assert found[head, row] == pytest.approx(expected, rel=1e-2, abs=1e-3)
        assert screened.of_head(head).screen(taps).loss == pytest.approx(found[head].mean())


@pytest.mark.parametrize("dense", [[], [6], [6, 12], [60], [6, 60]], ids=str)
@pytest.mark.parametrize("sparse", [0, 1, 2])
def test_wide_and_sparse_features_have_the_residuals_of_the_sum_of_their_kernels(dense: list[int], sparse: int) -> None:
    """More features than rows, sparse features, and both together, against the inverse of the whole kernel."""
    if not dense and not sparse:
        return
    draw = np.random.default_rng(3)
    taps: dict[mh.Hidden, torch.Tensor | csr_array] = {}
    kernels = []
    for number, width in enumerate(dense):
        values = draw.normal(size=(ROWS, width)).astype(np.float32)
        taps[mh.Hidden(-1 - number)] = torch.from_numpy(values)
        kernels.append(values @ values.T / width)
    for number in range(sparse):
        bag = draw.poisson(0.2, size=(ROWS, 50)).astype(np.float32)
        taps[mh.Hidden(-1 - number, "max")] = csr_array(bag)
        kernels.append(bag @ bag.T)
    targets = draw.normal(size=(ROWS, 2)).astype(np.float32)
    found = LeaveOneOutScreening(taps.__getitem__, [targets]).errors(taps)[0]
    inverse = np.linalg.inv(np.sum(kernels, axis=0, dtype=np.float64) + PENALTY * ROWS * np.eye(ROWS))
    residuals = inverse @ centred(targets) / inverse.diagonal()[:, None]
    np.testing.assert_allclose(found, (residuals**2).sum(axis=1), rtol=2e-3)


def test_sets_that_share_taps_have_the_errors_of_a_screening_of_their_own() -> None:
    """Products with a tap are kept for later sets, in whatever order these name it."""
    draw = np.random.default_rng(4)
    wide, narrow, bag, other = TAPS[0], TAPS[1], mh.Hidden(-3), mh.Hidden(-4)
    taps: dict[mh.Hidden, torch.Tensor | csr_array] = {
        wide: torch.from_numpy(draw.normal(size=(ROWS, 12)).astype(np.float32)),
        narrow: torch.from_numpy(draw.normal(size=(ROWS, 6)).astype(np.float32)),
        bag: csr_array(draw.poisson(0.2, size=(ROWS, 50)).astype(np.float32)),
        other: csr_array(draw.poisson(0.2, size=(ROWS, 20)).astype(np.float32)),
    }
    targets = [draw.normal(size=(ROWS, 2)).astype(np.float32)]
    shared = LeaveOneOutScreening(taps.__getitem__, targets)
    sets = [[wide], [wide, bag], [wide, narrow], [narrow, bag, wide], [bag, other], [other, wide, bag], [narrow, bag]]
    for taps_of_set in sets:
        own = LeaveOneOutScreening(taps.__getitem__, targets).errors(taps_of_set)
        np.testing.assert_allclose(shared.errors(taps_of_set), own, rtol=1e-4)


@pytest.mark.parametrize("share", [1.0, 0.6], ids=["labels", "shares"])
def test_errors_of_classes_are_log_losses_of_refits_scaled_as_logits(
    features: dict[mh.Hidden, np.ndarray], numbers: list[np.ndarray], share: float
) -> None:
    shares = share * numbers[1] + (1 - share) * np.roll(numbers[1], 1, axis=1)
    found = LeaveOneOutScreening(lambda tap: standardized(features[tap]), [shares], [True]).errors(TAPS[:1])[0]
    standard = StandardScaler().fit_transform(features[TAPS[0]]) / np.sqrt(WIDTH)
    wanted, predicted = centred(shares), np.empty((ROWS, 3))
    for row in range(ROWS):
        others = np.arange(ROWS) != row
        ridge = Ridge(alpha=PENALTY * ROWS, fit_intercept=False).fit(standard[others], wanted[others])
        predicted[row] = ridge.predict(standard[[row]])[0]
    factors = np.exp(np.linspace(-3, 8, 2000))[:, None]

    def expected_log_loss(probabilities: np.ndarray) -> float:
        repeated, classes = np.repeat(probabilities, 3, axis=0), np.tile(np.arange(3), ROWS)
        return float(log_loss(classes, repeated, sample_weight=shares.ravel()))

    losses = [expected_log_loss(softmax(factor * predicted, axis=1)) for factor in factors]
    entropy = expected_log_loss(np.tile(shares.mean(axis=0), (ROWS, 1)))
    assert found.mean() == pytest.approx(min(losses) / entropy, rel=1e-2)


def test_the_order_of_a_set_is_nothing_and_the_best_comes_first(
    features: dict[mh.Hidden, np.ndarray], numbers: list[np.ndarray]
) -> None:
    asked: list[mh.Hidden] = []

    def features_of(tap: mh.Hidden) -> torch.Tensor:
        asked.append(tap)
        return standardized(features[tap])

    screened = LeaveOneOutScreening(features_of, numbers)
    assert np.array_equal(screened.errors(TAPS), screened.errors(TAPS[::-1]))
    ranked = screened.of_head(0).ranked(TAPS)
    assert [single.taps for single in ranked] == [(TAPS[0],), (TAPS[1],)]
    assert ranked[0].loss < ranked[1].loss
    assert sorted(asked, key=str) == sorted(TAPS, key=str)


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e30])
def test_errors_are_shares_of_the_variance_whatever_the_unit(
    features: dict[mh.Hidden, np.ndarray], numbers: list[np.ndarray], factor: float
) -> None:
    plain = screening(features, numbers[:1]).errors(TAPS)
    other = screening(features, [(numbers[0].astype(np.float64) * factor).astype(np.float32)]).errors(TAPS)
    np.testing.assert_allclose(other, plain, rtol=1e-3, atol=1e-5)


def test_alike_targets_leave_nothing_to_explain(features: dict[mh.Hidden, np.ndarray]) -> None:
    assert screening(features, [np.full((ROWS, 2), 3.0, dtype=np.float32)]).of_head(0).screen(TAPS).loss == 0.0


def test_scaled_numbers_have_a_mean_square_of_one() -> None:
    found = scaled(np.array([[1.0, 10.0], [3.0, 30.0], [2.0, np.nan]], dtype=np.float32))
    assert np.nansum((found - np.nanmean(found, axis=0)) ** 2) / 3 == pytest.approx(1.0)


def test_a_margin_is_the_mean_difference_and_its_standard_error() -> None:
    assert margin(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0])) == pytest.approx((1.5, 1.25**0.5 / 2))


@pytest.mark.parametrize(
    ("errors", "place"),
    [
        ([[1.0, 1.0], [0.5, 0.5]], 1),  # surely better
        ([[1.0, 1.0], [0.2, 1.6]], 0),  # better by less than it wavers
        ([[1.0, 1.0], [0.991, 0.991]], 0),  # surely, but by nothing
        ([[0.1, 0.1], [0.097, 0.097]], 1),  # a hundredth of the error is nothing, not of the variance
        ([[1.0, 1.0], [0.5, 0.5], [0.4995, 0.4995]], 1),
        ([[1.0, 1.0], [1.0, 1.0]], 0),
    ],
)
def test_the_simplest_that_is_near_the_best_is_taken(errors: list[list[float]], place: int) -> None:
    assert simplest_near_best([np.array(one) for one in errors]) == place
