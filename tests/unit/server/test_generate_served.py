"""``POST /generate`` of a real server, read by a client for server-sent events."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sseclient

import manyheads as mh
from tests.families import TEXTS
from tests.unit.server.test_generate_requests import endless_model

MOST_SECONDS = 90.0
ENDLESS = 100_000
SERVER = """
import os
from manyheads.server import ServerSettings, create_app

def make():
    return create_app(os.environ["MODEL"], ServerSettings(max_new_tokens=100_000))
"""


def wait_until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + MOST_SECONDS
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Served:
    """A server that runs, and the model that it serves."""

    def __init__(self, model: mh.HeadedModel, port: int) -> None:
        self.model = model
        self.port = port

    def open(self, path: str, body: dict[str, Any] | None = None) -> tuple[http.client.HTTPConnection, Any]:
        """Send a request over a connection of its own, and return both."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=MOST_SECONDS)
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
        return connection, connection.getresponse()

    def answer(self, path: str, body: dict[str, Any] | None = None) -> str:
        """Return the whole answer to a request."""
        connection, response = self.open(path, body)
        try:
            assert response.status == 200
            text: str = response.read().decode()
            return text
        finally:
            connection.close()

    def generated_tokens(self) -> float:
        """Return the number of tokens of all generations that have ended."""
        lines = self.answer("/metrics").splitlines()
        return float(next(line for line in lines if line.startswith("manyheads_generated_tokens_total")).split()[1])

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            return bool(self.answer("/health/ready"))
        except OSError:
            return False


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    model = endless_model()
    model.save_pretrained(folder / "model")
    (folder / "generating_server.py").write_text(SERVER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    environment = {**os.environ, "PYTHONPATH": path, "MODEL": str(folder / "model"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--factory"]
    process = subprocess.Popen([*command, "generating_server:make"], env=environment)
    server = Served(model, port)
    try:
        wait_until(lambda: process.poll() is not None or server.is_ready())
        yield server
    finally:
        process.terminate()
        process.wait()


def test_a_client_reads_the_events_as_they_come(served: Served) -> None:
    texts, predictions = served.model.generate_and_predict(TEXTS[:2], max_new_tokens=300)
    body = {"texts": TEXTS[:2], "max_new_tokens": 300, "stream": True}
    connection, response = served.open("/generate", body)
    events = sseclient.SSEClient(response).events()
    first = next(events)
    assert first.event == "predictions"
    found = [row["urgency"]["score"] for row in json.loads(first.data)["predictions"]]
    assert found == [row["urgency"].score for row in predictions]
    # Another client is answered while the text is written.
    assert json.loads(served.answer("/predict", {"text": "mild cough"}))["predictions"]
    assert served.generated_tokens() == 0
    written = ["", ""]
    for event in events:
        data = json.loads(event.data)
        if event.event == "end":
            break
        written[data["index"]] += data["text"]
    connection.close()
    assert written == texts
    assert data["finish"] == ["length", "length"]
    assert served.generated_tokens() == data["usage"]["output_tokens"] == 600


def test_a_client_that_leaves_ends_its_generation(served: Served) -> None:
    before = served.generated_tokens()
    connection, response = served.open("/generate", {"text": TEXTS[0], "max_new_tokens": ENDLESS, "stream": True})
    events = sseclient.SSEClient(response).events()
    assert [next(events).event for _ in range(3)] == ["predictions", "text", "text"]
    response.close()
    connection.close()
    wait_until(lambda: served.generated_tokens() > before)
    assert served.generated_tokens() - before < ENDLESS
    answer = json.loads(served.answer("/generate", {"text": TEXTS[0], "max_new_tokens": 3}))
    assert answer["texts"] == served.model.generate_and_predict(TEXTS[:1], max_new_tokens=3)[0]
