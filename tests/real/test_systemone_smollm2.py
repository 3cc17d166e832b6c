"""The decision API with SmolLM2-135M behind it: conformance, and obvious questions.

The variable ``SMOLLM2`` names the folder that ``python -m benchmarks.smollm2 convert`` makes.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from jevcompat.runner import run

import manyheads as mh
from benchmarks.decisions import answered
from manyheads.server import ServerSettings, create_app
from tests.systemone_tools import answering

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    folder = os.environ.get("SMOLLM2")
    if folder is None:
        pytest.skip("set SMOLLM2 to the folder that benchmarks.smollm2 makes")
    return mh.HeadedModel.from_pretrained(folder)


def test_every_requirement_and_recommendation_is_met(model: mh.HeadedModel) -> None:
    with answering(create_app(model, ServerSettings(deadline_seconds=600))) as url:
        report = run(url, timeout=600)
    failed = {result.id: result.findings for result in report.results if result.status == "fail"}
    assert not failed
    assert report.verdict == "conformant", report.summary()


def test_obvious_questions_are_answered_better_than_by_chance_and_better_calibrated(model: mh.HeadedModel) -> None:
    right, without = Counter[str](), Counter[str]()
    for kind, calibrated, plain in answered(model):
        right[kind] += calibrated
        without[kind] += plain
    # Chance: 4 of 12 choices, 3 of 8 scores.
    assert right["choice"] >= 8
    assert right["score"] >= 5
    assert right.total() > without.total()
