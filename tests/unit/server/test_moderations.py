"""``POST /v1/moderations`` gives the labels and scores of ``predict``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

import manyheads as mh
from manyheads.server import create_app
from tests.families import BY_NAME, TEXTS, tokenizer_for

LABELS = ["pain", "fever", 3]
ROWS = [{"note": text, "symptoms": LABELS[: row % 4], "flags": LABELS[row % 3 :]} for row, text in enumerate(TEXTS * 2)]


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    found = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    found.add_head("symptoms", mh.MultiLabel(LABELS))
    found.add_head("flags", mh.MultiLabel(LABELS))
    mh.train(found, ROWS, text="note", method=mh.Frozen(cache=None, dtype="float32"))
    found.heads["symptoms"].decision = mh.Decision(thresholds=[0.0, 0.9999, 0.3])
    return found


@pytest.fixture(scope="module")
def client(model: mh.HeadedModel) -> Iterator[TestClient]:
    with TestClient(create_app(model)) as found:
        yield found


def test_results_are_those_of_predict_by_the_stored_thresholds(client: TestClient, model: mh.HeadedModel) -> None:
    answer = client.post("/v1/moderations", json={"input": TEXTS, "model": "symptoms"}).json()
    expected = [row["symptoms"] for row in model.predict(TEXTS)]
    assert (answer["model"], answer["id"][:5]) == ("symptoms", "modr-")
    assert len(answer["results"]) == len(TEXTS)
    for result, prediction in zip(answer["results"], expected, strict=True):
        scores = {str(label): score for label, score in prediction.scores.items()}
        assert result["category_scores"] == pytest.approx(scores, abs=1e-6)  # in other batches
        assert [name for name, chosen in result["categories"].items() if chosen] == [*map(str, prediction.labels)]
        assert (result["categories"]["pain"], result["categories"]["fever"]) == (True, False)
        assert result["flagged"]
    (alone,) = client.post("/v1/moderations", json={"input": TEXTS[0], "model": "symptoms"}).json()["results"]
    (prediction,) = model.predict(TEXTS[:1], heads=["symptoms"])
    assert list(alone["category_scores"].values()) == list(prediction["symptoms"].scores.values())


def test_nothing_is_flagged_where_no_label_reaches_its_threshold(model: mh.HeadedModel) -> None:
    before = model.heads["flags"].decision
    model.heads["flags"].decision = mh.Decision(thresholds=[1.0, 1.0, 1.0])
    try:
        with TestClient(create_app(model)) as client:
            (result,) = client.post("/v1/moderations", json={"input": "burn", "model": "flags"}).json()["results"]
    finally:
        model.heads["flags"].decision = before
    assert result["flagged"] is False
    assert set(result["categories"].values()) == {False}


@pytest.mark.parametrize("name", [None, "secret"])
def test_the_heads_to_name_are_named(client: TestClient, name: str | None) -> None:
    response = client.post("/v1/moderations", json={"input": "burn", "model": name})
    (problem,) = response.json()["detail"]
    assert (response.status_code, problem["loc"]) == (422, ["body", "model"])
    assert "'symptoms', 'flags'" in problem["msg"]
    assert "secret" not in response.text


def test_one_head_needs_no_name_and_none_is_an_error(model: mh.HeadedModel) -> None:
    single = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    single.add_head("kind", mh.Multiclass(["a", "b"])).trained = True
    with TestClient(create_app(single)) as client:
        assert client.post("/v1/moderations", json={"input": "burn"}).status_code == 422
    single.add_head("symptoms", mh.MultiLabel(LABELS)).trained = True
    mh.train(single, ROWS, text="note", heads=["symptoms"], method=mh.Frozen(cache=None, dtype="float32"))
    with TestClient(create_app(single)) as client:
        assert client.post("/v1/moderations", json={"input": "burn"}).json()["model"] == "symptoms"
