"""The learning curve of a head and the layers of its search, as lines."""

from __future__ import annotations

from typing import Any

import pytest

import manyheads as mh
from manyheads.cli.chart import learning_curve, search_chart
from manyheads.taps import Branched, Words, write_tap
from manyheads.training.fit import LEAVE_ONE_OUT, Alternative


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


@pytest.mark.parametrize(
    ("taps", "names"),
    [
        ([mh.Hidden(-1, "mean"), mh.Lexical()], ["-1 mean", "tokens", "-1 mean + tokens"]),
        (
            [mh.Hidden(-1, "mean"), mh.Lexical(unit="word", first=1), mh.Lexical(unit="word", ngrams=(1, 2))],
            ["-1 mean", "first word", "words and pairs", "-1 mean + first word + words and pairs"],
        ),
        ([Words(-1), Words(-2, "mean")], ["-2 mean", "-1 first", "-1 first + -2 mean"]),
        ([Branched("fork", mh.Hidden(-1, "cls")), mh.Lexical()], ["-1 cls", "tokens", "-1 cls + tokens"]),
    ],
)
def test_the_search_of_every_kind_of_head_is_drawn(taps: list[Any], names: list[str]) -> None:
    single = [mh.Hidden(tap.reads.layer, tap.reads.pool) if isinstance(tap, Branched) else tap for tap in taps]
    tried = [Alternative((tap,), {"rows": 50.0}, 0.5, LEAVE_ONE_OUT).record() for tap in single]
    tried.append(Alternative(tuple(single), {"rows": 50.0}, 0.25, LEAVE_ONE_OUT).record())
    lines = search_chart(tried, [write_tap(tap) for tap in taps])
    assert [line[: len(name)] for line, name in zip(lines, names, strict=True)] == names
    assert [line[-5:] for line in lines] == [*["50.0%"] * len(taps), "75.0%"]
