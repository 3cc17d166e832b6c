"""The learning curve of a head, as a line."""

from __future__ import annotations

import pytest

from manyheads.cli.chart import learning_curve


def records(*values: float | None) -> list[dict[str, float | None]]:
    return [{"epoch": float(at), "rows": 9, "accuracy": value, "log_loss": 1.0} for at, value in enumerate(values, 1)]


def test_a_curve_rises_from_the_lowest_to_the_highest_bar() -> None:
    line = learning_curve(records(0.5, 0.75, 1.0, 0.9))
    assert line == "accuracy by epoch ▁▅█▇ from 0.500 to 0.900, best 1.000 in epoch 3"


@pytest.mark.parametrize("history", [[], records(0.5), records(None, 0.5), [{"epoch": 1, "loss": 2.0}] * 3])
def test_fewer_than_two_measured_epochs_are_no_curve(history: list[dict[str, float | None]]) -> None:
    assert learning_curve(history) == ""


def test_a_flat_curve_is_flat() -> None:
    assert "▁▁▁" in learning_curve(records(0.5, 0.5, 0.5))
