"""The choice of a method from row losses, with numbers worked out by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from manyheads.training.auto.candidate import Candidate
from manyheads.training.auto.candidates import candidates, name_of
from manyheads.training.auto.choice import choose, harmed, is_clearly_behind
from manyheads.training.auto.report import why

# Of one head on four rows. The second method is better by .1, .1, .1 and .3: .15 on average, with a standard error of
# sqrt((3 * .05**2 + .15**2) / 4 / 4) = .043. The third is better by .6, -.2, 0 and 0: .1, with an error of
# sqrt((.5**2 + .3**2 + .1**2 + .1**2) / 4 / 4) = .15.
FIRST = np.array([[1.0, 1.0, 1.0, 1.0]])
CLEAR = np.array([[0.9, 0.9, 0.9, 0.7]])
NOISY = np.array([[0.4, 1.2, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ([FIRST], 0),
        ([FIRST, CLEAR], 1),
        ([FIRST, NOISY], 0),
        ([FIRST, CLEAR + 0.001, CLEAR], 1),  # negligibly worse than the best, and simpler
        ([FIRST, NOISY, CLEAR], 1),  # .05 above the best; its differences -.5, .3, .1, .3 have an error of .166
        ([CLEAR, FIRST], 0),
    ],
)
def test_the_simplest_within_one_standard_error_of_the_best_is_chosen(losses: list[np.ndarray], chosen: int) -> None:
    assert choose(losses) == chosen


def test_heads_count_equally() -> None:
    both = np.concatenate([CLEAR, FIRST])  # better by .075 on average, with half the error
    assert choose([np.concatenate([FIRST, FIRST]), both]) == 1


def test_a_method_that_is_clearly_worse_for_a_head_is_not_chosen() -> None:
    gain, loss = 3 * (CLEAR - FIRST), np.array([[0.1, 0.1, 0.2, 0.1]])  # worse by .125, with an error of .022
    first = np.concatenate([FIRST, FIRST])
    harming = first + np.concatenate([gain, loss])
    assert harmed(harming, first) == [1]
    assert choose([first, harming]) == 0
    assert choose([first, harming, np.concatenate([CLEAR, FIRST])]) == 2


def test_behind_takes_two_standard_errors() -> None:
    assert is_clearly_behind(FIRST + np.array([[0.1, 0.1, 0.1, 0.3]]), FIRST)  # .15 is 3.5 errors
    assert not is_clearly_behind(FIRST + np.array([[0.6, -0.2, 0.0, 0.0]]), FIRST)
    assert not is_clearly_behind(FIRST + 0.001, FIRST)


def candidate(name: str, loss: float | None, chosen: bool = False, **more: object) -> Candidate:
    return Candidate(name, {}, chosen, loss=loss, error=0.01, excess=0.02, excess_error=0.03, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([candidate("A", 0.5, True), candidate("B", None)], "A, the only method that was measured on 60 training rows"),
        ([candidate("A", 0.3, True), candidate("B", 0.4)], "A: no other method has a lower loss on 60 training rows"),
        ([candidate("A", 0.5), candidate("B", 0.4, True)], r"B: it has the .*, 0\.0200 ± 0\.0300 below that of A, and"),
        (
            [candidate("A", 0.5, True), candidate("B", 0.4, reason="clearly worse than A for 'x'")],
            "A: B has the least loss on 60 .*, but is clearly worse",
        ),
        ([candidate("A", 0.5, True), candidate("B", 0.48)], r"A: .* of the best, B \(loss 0\.5000 and 0\.4800, differ"),
    ],
)
def test_the_reason_fits_the_choice(found: list[Candidate], expected: str) -> None:
    assert re.search(f"Auto chose {expected}", why(found, 60))


def test_the_candidates_of_a_backbone() -> None:
    names = [name_of(method) for method in candidates(12, keep_lm=True)]
    assert names == [
        "Frozen()",
        "Fork(top=2, lr=0.0003)",
        "Fork(top=6, lr=0.0003)",
        "LoRA(r=16, lr=0.001)",
    ]
    assert [name_of(method) for method in candidates(12, keep_lm=False)][4:] == ["Full()", "Full(lr=0.0001)"]
    assert [name_of(method) for method in candidates(1, keep_lm=True)][1:3] == [
        "Fork(top=1, lr=0.0003)",
        "LoRA(r=16, lr=0.001)",
    ]
