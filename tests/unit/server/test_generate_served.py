"""``POST /generate`` of the real server, read by a client for server-sent events."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sseclient

import manyheads as mh
from tests.families import TEXTS
from tests.server_tools import MOST_SECONDS, RunningServer, running_server, wait_until
from tests.unit.server.test_generate_requests import ENDLESS, endless_model


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    return endless_model()


@pytest.fixture(scope="module")
def server(model: mh.HeadedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("served") / "model"
    model.save_pretrained(folder)
    with running_server(folder, settings=f"max_new_tokens={ENDLESS}") as server:
        yield server


@contextmanager
def streamed(server: RunningServer, **body: Any) -> Iterator[Iterator[Any]]:
    """Yield the events of a generation; leaving the block closes the connection."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=MOST_SECONDS)
    connection.request("POST", "/generate", json.dumps({**body, "stream": True}))
    response = connection.getresponse()
    try:
        yield sseclient.SSEClient(response).events()
    finally:
        response.close()
        connection.close()


def generated_tokens(server: RunningServer) -> float:
    """Return the number of tokens of all generations that have ended."""
    lines = server.request("GET", "/metrics")[2].splitlines()
    return float(next(line for line in lines if line.startswith("manyheads_generated_tokens_total")).split()[1])


def test_a_client_reads_the_events_as_they_come(server: RunningServer, model: mh.HeadedModel) -> None:
    texts, predictions = model.generate_and_predict(TEXTS[:2], max_new_tokens=300)
    written = ["", ""]
    with streamed(server, texts=TEXTS[:2], max_new_tokens=300) as events:
        first = next(events)
        assert first.event == "predictions"
        found = [row["urgency"]["score"] for row in json.loads(first.data)["predictions"]]
        assert found == [row["urgency"].score for row in predictions]
        # Another client is answered while the text is written.
        assert server.request("POST", "/predict", {"text": "mild cough"})[0] == 200
        assert generated_tokens(server) == 0
        *pieces, end = ((event.event, json.loads(event.data)) for event in events)
    for name, piece in pieces:
        assert name == "text"
        written[piece["index"]] += piece["text"]
    assert written == texts
    assert end[0] == "end"
    assert end[1]["finish"] == ["length", "length"]
    assert generated_tokens(server) == end[1]["usage"]["output_tokens"] == 600


def test_a_client_that_leaves_ends_its_generation(server: RunningServer, model: mh.HeadedModel) -> None:
    before = generated_tokens(server)
    with streamed(server, text=TEXTS[0], max_new_tokens=ENDLESS) as events:
        assert [next(events).event for _ in range(3)] == ["predictions", "text", "text"]
    wait_until(lambda: generated_tokens(server) > before)
    assert generated_tokens(server) - before < ENDLESS
    answer = server.request("POST", "/generate", {"text": TEXTS[0], "max_new_tokens": 3})[2]
    assert answer["texts"] == model.generate_and_predict(TEXTS[:1], max_new_tokens=3)[0]
