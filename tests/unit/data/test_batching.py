"""Batches of a pass: every row once, within the budget, and the budget that a made-up clock shows is fastest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from manyheads.data.batching import TOKEN_BUDGET, Batches, BudgetSearch, plan_batches

Clock = Callable[[int], float]


def lengths(rows: int, most: int = 128, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, most + 1, size=rows)


def fastest_at(best: int, gain: float = 1.5) -> Clock:
    """Return tokens per second by budget, falling off on both sides of the best."""
    return lambda budget: gain ** -abs(np.log2(budget / best))


def run(batches: Batches, of: np.ndarray, clock: Clock) -> list[np.ndarray]:
    """Walk through a pass whose batches take as long as the clock shows, the first one ten times that."""
    taken = []
    for rows in batches:
        taken.append(rows)
        tokens = int(of[rows].max()) * len(rows)
        seconds = tokens / clock(batches._budget)
        batches.took(seconds if len(taken) > 1 else 10 * seconds)
    return taken


def searched(clock: Clock) -> BudgetSearch:
    """Let a search see full batches until it has made up its mind."""
    search = BudgetSearch()
    for _ in range(1000):
        if search.best is not None:
            return search
        search.saw(search.budget, search.budget / clock(search.budget))
    raise AssertionError("the search never ends")


@pytest.mark.parametrize("best", [512, 1024, 2048, 4096, 8192, 16384, 32768])
def test_the_fastest_budget_is_found(best: int) -> None:
    assert searched(fastest_at(best)).best == best


@pytest.mark.parametrize("best", [512, 1024, 4096, 32768])
def test_what_is_not_clearly_faster_is_not_taken(best: int) -> None:
    assert searched(fastest_at(best, gain=1.04)).best == TOKEN_BUDGET


def test_one_speed_for_all_stays_at_the_usual_budget() -> None:
    assert searched(lambda budget: 1e6).best == TOKEN_BUDGET


def test_a_clock_that_stands_still_is_no_error() -> None:
    assert searched(lambda budget: float("inf")).best is not None


def test_the_first_batch_does_not_count() -> None:
    search = BudgetSearch()
    search.saw(10**6, 1e9)
    assert search.budget == TOKEN_BUDGET
    while search.best is None:
        search.saw(8192, 8192 / fastest_at(4096)(search.budget))
    assert search.best == 4096


def test_a_budget_is_judged_by_enough_tokens() -> None:
    search = BudgetSearch()
    for _ in range(4):  # the first is left out; three times 2,500 tokens are too few
        search.saw(2500, 1.0)
    assert search.budget == TOKEN_BUDGET
    search.saw(2500, 1.0)
    assert search.budget == 2 * TOKEN_BUDGET


@pytest.mark.parametrize("best", [512, 2048, 32768])
@pytest.mark.parametrize("rows", [1, 30, 9000])
def test_every_row_stands_in_one_batch_whatever_is_measured(rows: int, best: int) -> None:
    of = lengths(rows)
    taken = run(Batches(of), of, fastest_at(best))
    np.testing.assert_array_equal(np.sort(np.concatenate(taken)), np.arange(rows))
    longest = [int(of[batch].max()) for batch in taken]
    assert longest == sorted(longest, reverse=True)


@pytest.mark.parametrize("best", [512, 1024, 2048, 4096, 32768])
def test_a_long_pass_measures_and_goes_on_with_what_it_found(best: int) -> None:
    of = np.full(20_000, 60)
    batches = Batches(of)
    taken = run(batches, of, fastest_at(best))
    assert batches.measured == best
    assert {len(batch) for batch in taken[-3:-1]} == {best // 60}


def test_a_short_pass_measures_nothing() -> None:
    of = lengths(1000)
    batches = Batches(of)
    run(batches, of, fastest_at(32768))
    assert batches.measured is None
    assert [rows.tolist() for rows in Batches(of)] == [rows.tolist() for rows in plan_batches(of)]


@pytest.mark.parametrize("rows", [100, 20_000])
def test_a_measured_budget_is_kept(rows: int) -> None:
    of = np.full(rows, 60)
    batches = Batches(of, 1024)
    taken = run(batches, of, fastest_at(32768))
    assert batches.measured == 1024
    assert {len(batch) for batch in taken[:-1]} == {1024 // 60}


def test_a_row_beyond_the_budget_is_a_batch_of_its_own() -> None:
    assert [rows.tolist() for rows in plan_batches(np.array([3, 5000, 4000, 2]), 2048)] == [[1], [2], [0, 3]]


def test_rows_of_one_length_keep_their_order() -> None:
    assert [rows.tolist() for rows in plan_batches(np.array([5, 5, 9, 5]), 15)] == [[2], [0, 1, 3]]


def test_no_rows_are_no_batches() -> None:
    assert plan_batches(np.array([], dtype=np.int64)) == []


def test_rows_without_tokens_do_no_harm() -> None:
    assert [rows.tolist() for rows in plan_batches(np.zeros(3, dtype=np.int64), 2)] == [[0, 1], [2]]


def test_a_batch_ends_before_rows_that_would_be_mostly_padding() -> None:
    of = np.array([100] * 10 + [10] * 50)
    assert [rows.tolist() for rows in plan_batches(of, 2048)] == [list(range(10)), list(range(10, 60))]


def test_a_little_padding_is_cheaper_than_another_forward() -> None:
    assert [len(rows) for rows in plan_batches(np.array([21] * 40 + [20] * 40), 2048)] == [80]


def test_few_rows_of_many_lengths_have_little_padding() -> None:
    of = lengths(500, 60)
    padded = sum(len(rows) * int(of[rows].max()) for rows in plan_batches(of))
    assert of.sum() / padded > 0.92
