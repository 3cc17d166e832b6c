"""The chart kit, and the pictures that need more than a report of ``evaluate``."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from sklearn import metrics as sk

import manyheads as mh
from manyheads.evaluation.kinds import LabelScores
from manyheads.evaluation.page.charts.bars import bars
from manyheads.evaluation.page.charts.confusion import confusion_matrix
from manyheads.evaluation.page.charts.kit.scale import LogScale, Scale, round_numbers, rounded_range, tick_text
from manyheads.evaluation.page.charts.kit.text_width import fitted, text_width
from manyheads.evaluation.page.charts.lines import lines_over_epochs
from manyheads.evaluation.page.charts.precision_recall import precision_recall_curve
from manyheads.evaluation.page.charts.scatter import scatter
from manyheads.evaluation.page.sections.learning_curve import learning_curve_section
from manyheads.evaluation.page.sections.reads import _WORDS, tap_in_words
from manyheads.evaluation.page.subject import Subject
from manyheads.evaluation.resamples import Interval
from manyheads.taps import Branched, Tap, write_tap


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.07, [0, 0.02, 0.04, 0.06]),
        (-13, 28, [-10, 0, 10, 20]),
        (1890, 1931, [1890, 1900, 1910, 1920, 1930]),
        (3, 3, [3]),
    ],
)
def test_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert round_numbers(low, high) == pytest.approx(expected)


def test_scales() -> None:
    assert [Scale(0, 10, 100, 300)(value) for value in (0, 5, 10)] == [100, 200, 300]
    scale = LogScale(100, 10_000, 0, 200)
    assert [scale(value) for value in (100, 1000, 10_000)] == pytest.approx([0, 100, 200])
    assert scale.ticks == [100, 200, 500, 1000, 2000, 5000, 10_000]
    assert rounded_range([0.31, 0.68]) == pytest.approx((0.3, 0.7))
    low, high = rounded_range([5.0, 5.0])
    assert low < 5 < high
    assert [tick_text(value) for value in (0.25, 12_500, 3_000_000)] == ["0.25", "12,500", "3M"]


def test_text_is_cut_to_fit() -> None:
    assert fitted("short", 100) == "short"
    for text in ("m" * 90, "漢字" * 40, "i" * 200, "🩺" * 30):
        cut = fitted(text, 120)
        assert cut.endswith("…")
        assert 90 < text_width(cut) <= 125


def test_the_dot_of_a_threshold_is_its_precision_and_recall() -> None:
    random = np.random.default_rng(0)
    scores = random.random(200)
    true = random.random(200) < scores
    said = re.search("precision ([.0-9]+) and recall ([.0-9]+)", precision_recall_curve(
        LabelScores("pain", true, scores, scores, 0.6)
    ))  # fmt: skip
    assert said
    expected = [sk.precision_score(true, scores >= 0.6), sk.recall_score(true, scores >= 0.6)]
    assert [float(number.rstrip(".")) for number in said.groups()] == pytest.approx(expected, abs=5e-4)


def test_the_shade_of_a_cell_is_its_share_of_all_rows_with_the_true_label() -> None:
    drawn = confusion_matrix(["yes", "no"], np.array([[3, 1], [0, 2]]), np.array([8, 2]))
    assert re.findall('fill-opacity="([.0-9]+)"', drawn) == ["0.375", "0.125", "1.000"]


def test_pictures_of_many_and_of_odd_numbers() -> None:
    many = np.linspace(-1, 1, 10_000)
    assert scatter(many, many**3).count("<circle") == 600
    assert scatter(np.zeros(3), np.zeros(3)).count("<circle") == 3
    assert "nan" not in bars("Nothing", [("none", 0.0), ("less", -0.5)]).lower()
    lines = lines_over_epochs("loss", {"training rows": [(0, 2.0), (1, 1.0)], "held-out rows": [(0, 2.5), (1, 2.0)]})
    assert lines.count("<polyline") == 2
    assert "training rows: 2.000 at first, 1.000 at last" in lines


def test_a_learning_curve_leads_to_what_more_rows_would_give() -> None:
    points = [SimpleNamespace(rows=50 * 2**step, score=0.5 + 0.1 * step, interval=None) for step in range(3)]
    expected = SimpleNamespace(rows=400, score=0.75, interval=Interval(0.7, 0.8))
    curve = SimpleNamespace(metric="macro_f1", points=points, expected=expected, sentence="More labels would help.")
    section = learning_curve_section(Subject(cast(Any, SimpleNamespace(learning_curve=curve)), None, ()))
    assert section is not None
    (block,) = cast(Any, section.blocks)
    assert list(block.sentences) == ["More labels would help."]
    assert "Expected with 400 rows: 0.750." in block.each[0]
    assert block.each[0].count("<circle") == 4


@pytest.mark.parametrize(
    ("tap", "expected"),
    [
        (mh.Hidden(layer=-2, pool="mean"), "layer -2 (mean pooling)"),
        (mh.Hidden(layer="mix", pool="last"), "layer mix (last pooling)"),
        (mh.LMLogits(pool="last"), "logits of the language model (last pooling)"),
        (mh.Lexical(unit="word", first=1), "first word"),
        (mh.Output("urgency"), "scores of the head urgency"),
        (Branched(branch="fork", reads=mh.Hidden(layer=-1, pool="cls")), "layer -1 (cls pooling) of fork"),
    ],
)
def test_taps_in_words(tap: Tap, expected: str) -> None:
    assert tap_in_words(write_tap(tap)) == expected


def test_every_kind_of_tap_has_words() -> None:
    assert set(_WORDS) == set(Tap._kinds)
