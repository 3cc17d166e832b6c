"""What is tried within a time budget, by a clock that tests set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.core import HeadedCore
from manyheads.heads import Head, RowTargets
from manyheads.heads.logits import RowLogits
from manyheads.training.auto.budget import Budget
from manyheads.training.auto.comparison import Comparison
from manyheads.training.auto.run_watch import RunWatch
from manyheads.training.dataset import TrainingData
from manyheads.training.fit import FitResult
from manyheads.training.method import Method, Outcome
from manyheads.training.tuning.watch import StoppedRunError
from tests.families import BY_NAME, tokenizer_for
from tests.laws.oracle import changed, snapshot


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_time_of_the_last_training_is_reserved(clock: Clock) -> None:
    budget = Budget(100.0, 1.25, clock)
    assert budget.left == 100
    assert budget.fits(44, 44)  # 44 + 1.25 * 44 = 99
    assert not budget.fits(45, 45)
    clock.now = 20.0
    budget.reserve(20.0)
    assert budget.left == 55  # 100 - 20 - 1.25 * 20
    assert budget.fits(55, 4)
    assert not budget.fits(56, 4)
    assert not budget.fits(0, 65)


# --- one run --------------------------------------------------------------------------------------

LOSSES = {"first": np.full((1, 4), 0.5), "worse": np.full((1, 4), 0.7), "as before": np.full((1, 4), 0.6)}
LOSSES["better"] = np.full((1, 4), 0.55)


def watching(clock: Clock, seconds: float, first: str | None = "first") -> RunWatch:
    return RunWatch(Budget(seconds, 1.0, clock), lambda logits: LOSSES[logits], LOSSES.get(first or ""))  # type: ignore[call-overload,index]


def after_steps(watch: RunWatch, clock: Clock, steps: int) -> None:
    """Take ten seconds for the first step and one for each further one, of 101."""
    for done in range(1, steps + 1):
        clock.now = 9.0 + done
        watch.after_step(done, done / 101)


@pytest.mark.parametrize(("seconds", "fits"), [(15 + 1.25 * 95 + 133.75, True), (15 + 1.25 * 95 + 133.7, False)])
def test_a_run_that_does_not_fit_is_stopped_after_six_steps(clock: Clock, seconds: float, fits: bool) -> None:
    watch = watching(clock, seconds)
    after_steps(watch, clock, 5)
    if fits:
        after_steps(watch, clock, 6)
    else:
        with pytest.raises(StoppedRunError, match="would take about 134 s"):
            after_steps(watch, clock, 6)
    assert watch.expected == pytest.approx(15 + 1.25 * 95)


def shares(**named: str) -> Callable[[float], Any]:
    return lambda share: named[f"at_{round(100 * share)}"]


@pytest.mark.parametrize(
    ("logits_of", "stops"),
    [
        (shares(at_0="as before", at_50="worse", at_100="worse"), True),
        (shares(at_0="as before", at_50="better", at_100="worse"), False),
        (shares(at_0="worse", at_50="as before", at_100="as before"), False),  # behind, and better than before
        (shares(at_50="first", at_100="worse"), False),
    ],
)
def test_a_run_that_is_behind_and_no_better_than_its_start_is_stopped(
    clock: Clock, logits_of: Callable[[float], Any], stops: bool
) -> None:
    if stops:
        with pytest.raises(StoppedRunError, match="clearly behind"):
            watching(clock, 100).after_epoch(0.67, logits_of)
    else:
        watching(clock, 100).after_epoch(0.67, logits_of)


def test_no_run_is_stopped_for_its_first_epoch(clock: Clock) -> None:
    watching(clock, 100).after_epoch(0.33, shares(at_0="as before", at_50="worse", at_100="worse"))


def test_the_first_method_is_behind_nothing(clock: Clock) -> None:
    watching(clock, 100, first=None).after_epoch(0.67, shares())


# --- one method after the other -------------------------------------------------------------------


@dataclass(frozen=True)
class Stub(Method):
    """Takes some seconds, and gives the true class a logit."""

    name: str
    logit: float
    seconds: float
    clock: Clock
    error: str = ""

    def fit(self, core: HeadedCore, heads: Mapping[str, Head], data: TrainingData) -> Outcome:
        self.clock.now += self.seconds
        if self.error:
            raise mh.errors.BackboneError(self.error)
        for head in heads.values():
            head.trained = True
            head.output.weight.data.zero_()
        truth = data.targets["kind"].take(data.evaluate).values
        values = (self.logit + data.evaluate[:, None] % 2) * np.eye(3, dtype=np.float32)[truth]
        return Outcome({"kind": FitResult({}, {}, [], [])}, {"kind": RowLogits(values.astype(np.float32))})

    def describe(self) -> dict[str, Any]:
        return {"method": self.name}


class Other(Stub):
    """Another kind of method, of whose time nothing is known."""


def compared(clock: Clock, seconds: float, *methods: Stub) -> tuple[Comparison, mh.HeadedModel]:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("kind", mh.Multiclass(["a", "b", "c"]))
    targets = {"kind": RowTargets(np.arange(60) % 3)}
    data = TrainingData(None, [""] * 60, targets, np.arange(40), np.arange(40, 60), 0, "")  # type: ignore[arg-type]
    comparison = Comparison(model.core, dict(model.heads), data, Budget(seconds, 1.0, clock))
    before = snapshot(model.core)
    comparison.run(methods)
    assert changed(model.core, before) == []
    assert not model.heads["kind"].trained
    return comparison, model


def test_a_slow_kind_is_not_tried_again_and_the_others_are(clock: Clock) -> None:
    first = Stub("first", 1.0, 10, clock)
    methods = first, Stub("better", 2.0, 40, clock), Stub("slow", 3.0, 40, clock), Other("last", 0.5, 8, clock)
    # 50 s are spent after two; a third of 40 s and a last training of 40 s need 80; the other kind may start.
    comparison, _ = compared(clock, 100, *methods)
    assert [trial.seconds for trial in comparison.trials] == [10, 40, 0, 8]
    method, found = comparison.choose()
    assert method is methods[1]
    assert found[2].reason == "not tried: 10 s were left beside the last training, and it takes about 40 s"
    assert [one.chosen for one in found] == [False, True, False, False]
    assert [one.loss is None for one in found] == [False, False, True, False]


def test_no_time_is_reserved_for_a_method_that_cannot_be_chosen(clock: Clock) -> None:
    methods = Stub("first", 2.0, 10, clock), Stub("worse", 1.0, 60, clock), Other("other", 3.0, 10, clock)
    assert [trial.seconds for trial in compared(clock, 100, *methods)[0].trials] == [10, 60, 10]


def test_nothing_is_tried_after_the_time(clock: Clock) -> None:
    comparison, _ = compared(clock, 10, Stub("first", 1.0, 9, clock), Other("other", 2.0, 1, clock))
    method, found = comparison.choose()
    assert method is comparison.trials[0].method
    assert found[1].reason == "not tried: 0 s were left beside the last training, and it takes at least 9 s"


def test_no_kind_takes_less_time_than_the_first_method(clock: Clock) -> None:
    """Nothing is known of the last kind, but that it solves heads first: 30 s, where 20 s are left."""
    methods = Stub("first", 1.0, 30, clock), Stub("better", 2.0, 70, clock), Other("other", 3.0, 80, clock)
    comparison, _ = compared(clock, 190, *methods)
    assert [trial.seconds for trial in comparison.trials] == [30, 70, 0]
    left_out = comparison.trials[2].reason
    assert left_out == "not tried: 20 s were left beside the last training, and it takes at least 30 s"


def test_an_unsupported_method_is_left_out_with_its_reason(clock: Clock) -> None:
    unsupported = Stub("other", 2.0, 1, clock, "no\nblocks")
    comparison, _ = compared(clock, 100, Stub("first", 1.0, 1, clock), unsupported)
    assert comparison.choose()[1][1].reason == "not possible: no blocks"
    with pytest.raises(mh.errors.BackboneError, match="blocks"):
        compared(clock, 100, replace(unsupported, name="first"))


def test_the_record_compares_with_the_best(clock: Clock) -> None:
    comparison, _ = compared(clock, 100, Stub("first", 1.0, 1, clock), Stub("better", 2.0, 1, clock))
    _, (first, better) = comparison.choose()
    losses = [[np.log1p(2 * np.exp(-logit - row % 2)) for row in range(40, 60)] for logit in (1.0, 2.0)]
    assert [one.losses["kind"] for one in (first, better)] == pytest.approx(np.mean(losses, axis=1))
    entropy = -sum(count / 20 * np.log(count / 20) for count in (6, 7, 7))
    difference = (np.array(losses[0]) - np.array(losses[1])) / entropy
    assert first.excess == pytest.approx(difference.mean(), rel=1e-4)
    assert first.excess_error == pytest.approx(difference.std() / 20**0.5, rel=1e-4)
    assert (better.excess, better.excess_error) == (0.0, 0.0)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), True, "10", None])
def test_a_wrong_budget_is_one_line(minutes: Any) -> None:
    with pytest.raises(mh.errors.MethodError, match=r"^Auto: minutes must be a finite number above 0, got .*$"):
        mh.Auto(minutes=minutes)


def test_a_wrong_keep_lm_is_one_line() -> None:
    with pytest.raises(mh.errors.MethodError, match=r"^Auto: keep_lm must be True or False, got 'no'$"):
        mh.Auto(keep_lm="no")  # type: ignore[arg-type]
