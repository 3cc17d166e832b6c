"""The number of threads by the size of a problem and by how threads wait."""

from __future__ import annotations

import pytest
import torch

from manyheads.runtime.threads import is_worth_threads, threads, threads_of_factorizations


def test_the_number_of_threads_is_set_back_after_an_error() -> None:
    before = torch.get_num_threads()

    def failing() -> None:
        with threads(1) as outside:
            assert (outside, torch.get_num_threads()) == (before, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("policy", "multiplications", "worth"),
    [
        ("PASSIVE", 100_000_000, False),
        ("passive", 300_000_000, True),
        ("ACTIVE", 300_000_000, False),
        ("", 300_000_000, False),
        ("", 3_000_000_000, True),
    ],
)
def test_threads_that_spin_take_larger_products(
    monkeypatch: pytest.MonkeyPatch, policy: str, multiplications: int, worth: bool
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    assert is_worth_threads(multiplications) == worth


def test_factorizations_use_one_thread_where_threads_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert threads_of_factorizations() == 1
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    assert threads_of_factorizations() == torch.get_num_threads()
