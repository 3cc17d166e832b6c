"""The decision API against jevcompat's conformance suite and the official SDK, on the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from jevcompat.runner import Report, run
from typesafe_sdk import Choice, Noul, Score, TypeSafeClient

from manyheads.server import ServerSettings, create_app
from tests.systemone_tools import ROWS, answering, language_model, with_heads

KEY = "a secret"
# Cases that a key affects; the others were run without one.
WITH_KEY = {"models-endpoint", "noul-basic", "auth", "unknown-model", "unknown-fields"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with answering(create_app(with_heads(language_model()))) as found:
        yield found


@pytest.fixture(scope="module")
def url_with_key() -> Iterator[str]:
    with answering(create_app(language_model(), ServerSettings(api_key=KEY))) as found:
        yield found


def failures(report: Report) -> dict[str, list[str]]:
    """Return what a server broke, by requirement, the recommended ones too."""
    found = [result for result in report.results if result.status == "fail"]
    return {result.id: [finding.message for finding in result.findings] for result in found}


def test_every_requirement_and_recommendation_is_met(url: str) -> None:
    report = run(url)
    assert not failures(report)
    assert report.verdict == "conformant", report.summary()
    assert report.count("MUST", "pass") == 32  # all but that of the key
    assert report.info["limits"] == {"choice options accepted up to": 255, "score levels accepted up to": 10}


def test_with_a_key_those_about_keys_are_met_too(url_with_key: str) -> None:
    report = run(url_with_key, key=KEY, only=WITH_KEY)
    assert not failures(report)
    passed = {result.id for result in report.results if result.status == "pass"}
    assert {"auth.bearer", "auth.missing", "auth.invalid", "errors.shape", "http.models"} <= passed


def test_the_official_client_asks_heads_and_the_language_model_at_once(url: str) -> None:
    questions = {
        "topic": Choice(criteria={"other": None, "fever": None, "pain": None}),
        "level": Score(criteria=["routine", "urgent", "emergency"]),
        "known": Noul(instructions="Is the patient known?"),
        "symptoms.pain": Noul(instructions="Does the patient have pain?"),
        "season": Choice(instructions="Which season is it?", criteria={"summer": None, "winter": None}),
        "age": {"type": "x_value"},
    }
    with TypeSafeClient(api_key="none", base_url=url) as client:
        response = client.system_one(state=ROWS[0]["note"], questions=questions)
        assert {model.name for model in client.models.list().models} >= {"jev-latest", response.model}
    assert set(response.answers) == set(questions) - {"age"}  # a type that this client does not know
    assert set(response.choices["season"].probabilities) == {"summer", "winter"}
    assert response.scores["level"].legend == {0: "routine", 1: "urgent", 2: "emergency"}
    raw = response.raw_http_response.json()["answers"]
    assert raw["age"]["type"] == "x_value"
    assert isinstance(raw["age"]["x_value"], float)
