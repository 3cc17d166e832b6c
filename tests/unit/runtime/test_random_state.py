"""A random state of one's own: the numbers of ``torch.manual_seed``, without a trace in the process's own state."""

from __future__ import annotations

import torch

from manyheads.runtime.random_state import RandomState


def test_two_states_do_not_disturb_each_other() -> None:
    torch.manual_seed(7)
    seeded = torch.rand(6)
    torch.manual_seed(0)
    shared = torch.rand(6)

    torch.manual_seed(0)
    own, first, others = RandomState(torch.device("cpu"), 7), [], [torch.rand(1)]
    with own.used():
        for _ in range(3):
            first.append(torch.rand(1))
            with own.set_aside():
                others.append(torch.rand(1))
    others.append(torch.rand(1))
    with own.used():  # goes on
        first.append(torch.rand(3))
    others.append(torch.rand(1))
    assert torch.equal(torch.cat(first), seeded)
    assert torch.equal(torch.cat(others), shared)


def test_an_error_leaves_the_shared_state_alone() -> None:
    before, own = torch.get_rng_state(), RandomState(torch.device("cpu"), 7)
    try:
        with own.used():
            torch.rand(1)
            raise ZeroDivisionError
    except ZeroDivisionError:
        assert torch.equal(torch.get_rng_state(), before)
