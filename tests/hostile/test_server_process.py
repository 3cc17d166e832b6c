"""The server as a process: signals, kills, reloads, keys, slow clients, and what its log and its metrics contain."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

import manyheads as mh
from tests.families import TEXTS
from tests.server_tools import RunningServer, children_of, exists, running_server, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several workers need Linux")

KEY = "correct-horse"
BEARER = {"authorization": f"Bearer {KEY}"}
SECRET = "zebrafever"  # a word that must not be in the log
IN_FLIGHT = 16


def save_model(backbone: Path, seed: int, folder: Path) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(backbone)
    torch.manual_seed(seed)
    model.add_head("urgency", mh.Multiclass(labels=["routine", "urgent", "emergency"])).trained = True
    model.add_head("days", mh.Regression()).trained = True
    for parameter in model.core.heads.parameters():
        torch.nn.init.normal_(parameter)
    model.save_pretrained(folder, overwrite=True)
    return mh.HeadedModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def backbone(saved: Callable[[str], Path]) -> Path:
    return saved("bert")


@pytest.fixture(scope="module")
def folder(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    save_model(backbone, 0, folder)
    return folder


@pytest.fixture(scope="module")
def keyed(folder: Path) -> Iterator[RunningServer]:
    """One process with a key and little patience."""
    with running_server(folder, settings=f"api_key={KEY!r}, header_seconds=1, body_seconds=1") as server:
        yield server


def answers(model: mh.HeadedModel) -> list[tuple[float, float]]:
    """Return what a model answers to each text alone."""
    alone = [model.predict([text])[0] for text in TEXTS]
    return [(row["urgency"].score, row["days"].value) for row in alone]


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return the metrics by name and labels, as another program reads them."""
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Begun:
    """A request whose header has arrived, and whose body waits: the server answers 100 once it reads the body."""

    def __init__(self, port: int, body: object) -> None:
        self._body = json.dumps(body).encode()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        headers = f"authorization: Bearer {KEY}\r\ncontent-length: {len(self._body)}\r\nexpect: 100-continue"
        self._socket.sendall(f"POST /predict HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n".encode())
        assert self._socket.recv(1000).startswith(b"HTTP/1.1 100")

    def finish(self) -> tuple[int, Any]:
        with self._socket:
            self._socket.sendall(self._body)
            response = http.client.HTTPResponse(self._socket)
            response.begin()
            with response:
                return response.status, json.loads(response.read())


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": f"Basic {KEY}"}, 401),
        ({"authorization": f"Bearer {KEY}é"}, 401),
        (BEARER, 200),
        ({"authorization": f"bearer {KEY}"}, 200),
    ],
)
def test_only_the_key_opens(keyed: RunningServer, headers: dict[str, str], status: int) -> None:
    assert keyed.request("POST", "/predict", {"text": "fever"}, headers)[0] == status
    assert keyed.request("GET", "/info", headers=headers)[0] == keyed.request("GET", "/metrics", headers=headers)[0]
    assert keyed.request("GET", "/metrics", headers=headers)[0] == status
    assert keyed.request("POST", "/admin/reload", headers={"authorization": "Bearer wrong"})[0] == 401
    assert keyed.request("GET", "/health/ready")[0] == 200


def test_slow_clients_are_cut_off_and_others_answered(keyed: RunningServer) -> None:
    beginnings = {
        "nothing": b"",
        "part of a line": b"P",
        "part of a header": b"POST /predict HTTP/1.1\r\nhost: a\r\nx",
        "part of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM",
        "part of a body": b"POST /predict HTTP/1.1\r\nhost: a\r\nauthorization: Bearer %b\r\ncontent-length: 9\r\n\r\n{"
        % KEY.encode(),
        "a body that is not read": b"GET /health/live HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{",
        "no next request": b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n",
    }
    slow = {name: socket.create_connection(("127.0.0.1", keyed.port), timeout=30) for name in beginnings}
    for name, connection in slow.items():
        connection.sendall(beginnings[name])
    assert keyed.request("POST", "/predict", {"text": "fever"}, BEARER)[0] == 200
    for name, connection in slow.items():
        received = b""
        with connection:
            while chunk := connection.recv(10_000):  # until the server closes it
                received += chunk
        assert not received or b" 200 " in received or b" 408 " in received or b" 400 " in received, name
        assert (b" 408 " in received) == (name == "part of a body")


def test_the_log_has_ids_and_numbers_but_no_texts_and_no_keys(keyed: RunningServer) -> None:
    sane, insane = {**BEARER, "x-request-id": "client-7"}, {**BEARER, "x-request-id": f"my {SECRET}"}
    _, headers, _ = keyed.request("POST", "/predict", {"texts": [f"{SECRET} and cough", "x"]}, sane)
    assert headers["x-request-id"] == "client-7"
    _, other, _ = keyed.request("POST", "/predict", {"texts": [SECRET, 1]}, insane)
    assert len(other["x-request-id"]) == 32
    keyed.request("POST", "/predict", b'{"texts": ["' + SECRET.encode(), BEARER)
    keyed.request("GET", f"/{SECRET}?text={SECRET}", headers=BEARER)
    keyed.request(SECRET.upper(), "/predict", headers={"authorization": f"Bearer {SECRET}"})
    wait_until(lambda: any(line.get("method") == "other" for line in keyed.lines))
    text = json.dumps(keyed.lines)
    assert SECRET not in text.lower()
    assert KEY not in text
    (line,) = [line for line in keyed.lines if line.get("request_id") == "client-7"]
    expected = {"level": "info", "method": "POST", "route": "/predict", "status": 200, "rows": 2, "failed_rows": 0}
    assert expected.items() <= line.items()
    assert line["fingerprint"] == headers["x-manyheads-fingerprint"] == keyed.serving["fingerprint"]
    assert {"time", "milliseconds", "process"} <= set(line)
    (refused,) = [line for line in keyed.lines if line.get("request_id") == other["x-request-id"]]
    assert refused["error_type"] == "invalid_body"


def test_metrics_count_what_was_sent(keyed: RunningServer) -> None:
    before = samples(keyed.request("GET", "/metrics", headers=BEARER)[2])
    keyed.request("POST", "/predict", {"texts": TEXTS}, BEARER)
    keyed.request("POST", "/predict", {"texts": 1}, BEARER)
    keyed.request("GET", f"/{SECRET}", headers=BEARER)
    after = samples(keyed.request("GET", "/metrics", headers=BEARER)[2])
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert grown["manyheads_requests_total", "route=/predict", "status=200"] == 1
    assert grown["manyheads_requests_total", "route=/predict", "status=422"] == 1
    assert grown["manyheads_requests_total", "route=none", "status=404"] == 1
    assert grown["manyheads_request_seconds_count", "route=/predict"] == 2
    assert grown["manyheads_rows_total", "result=answered"] == len(TEXTS)
    assert grown["manyheads_batch_rows_sum",] == len(TEXTS)
    assert grown["manyheads_model_seconds_total",] > 0
    assert after["manyheads_queue_requests",] == 0
    assert after["manyheads_model", f"fingerprint={keyed.serving['fingerprint']}", f"version={mh.__version__}"] == 1


def check_drained(server: RunningServer, number: signal.Signals) -> None:
    """Send a signal to a server while requests are in flight: all are answered, and no process is left."""
    processes = children_of(server.process.pid)
    begun = [Begun(server.port, {"text": TEXTS[row % len(TEXTS)]}) for row in range(IN_FLIGHT)]
    server.process.send_signal(number)
    wait_until(lambda: refuses(server.port))
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        statuses = [status for status, _ in pool.map(Begun.finish, begun)]
    assert statuses == [200] * IN_FLIGHT
    server.process.wait(10)
    wait_until(lambda: not any(exists(process) for process in processes))


def test_a_reload_loses_no_request_and_mixes_no_models(backbone: Path, tmp_path: Path) -> None:
    models = [save_model(backbone, 1, tmp_path / "old"), save_model(backbone, 2, tmp_path / "new")]
    shutil.copytree(tmp_path / "old", tmp_path / "model")
    seen: list[tuple[str, int, float, float]] = []
    ended = threading.Event()

    def ask(server: RunningServer) -> None:
        while not ended.is_set():
            for row, text in enumerate(TEXTS):
                status, headers, body = server.request("POST", "/predict", {"text": text})
                assert status == 200
                assert headers["x-manyheads-fingerprint"] == body["fingerprint"]
                (row_answers,) = body["predictions"]
                seen.append((body["fingerprint"], row, row_answers["urgency"]["score"], row_answers["days"]["value"]))

    with running_server(tmp_path / "model", "--workers", "2") as server, ThreadPoolExecutor(4) as pool:
        old = server.serving["fingerprint"]
        asking = [pool.submit(ask, server) for _ in range(4)]
        try:
            save_model(backbone, 2, tmp_path / "model")
            server.process.send_signal(signal.SIGHUP)
            wait_until(lambda: sum(line["message"] == "the model was reloaded" for line in server.lines) == 2)
            new = next(line["fingerprint"] for line in server.lines if line["message"] == "the model was reloaded")
            after = len(seen)
            wait_until(lambda: len(seen) > after + 8 * len(TEXTS) or any(one.done() for one in asking))
            (tmp_path / "model" / "heads.safetensors").write_bytes(b"broken")
            status, _, body = server.request("POST", "/admin/reload")
            assert status == 409
            assert "heads.safetensors" in body["detail"]["message"]
            assert server.request("POST", "/admin/reload", headers={"origin": "https://elsewhere.example"})[0] == 403
        finally:
            ended.set()
        for one in asking:
            one.result()
        by_worker = samples(server.request("GET", "/metrics")[2])
        for worker in "12":
            assert by_worker["manyheads_reloads_total", "result=loaded", f"worker={worker}"] == 1
            assert (
                "manyheads_model",
                f"fingerprint={new}",
                f"version={mh.__version__}",
                f"worker={worker}",
            ) in by_worker
        check_drained(server, signal.SIGINT)
        assert server.process.returncode == 0
    assert {fingerprint for fingerprint, *_ in seen} == {old, new}
    assert all(fingerprint == new for fingerprint, *_ in seen[after + 4 :])
    expected = {fingerprint: answers(model) for fingerprint, model in zip((old, new), models, strict=True)}
    for fingerprint, row, score, value in seen:
        assert (score, value) == pytest.approx(expected[fingerprint][row], abs=1e-5)


def test_a_killed_worker_is_replaced_and_none_outlives_the_process_above(folder: Path) -> None:
    with running_server(folder, "--workers", "2") as server:
        first = max(children_of(server.process.pid))
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: any(line["message"].startswith("a worker ended") for line in server.lines))
        wait_until(lambda: 'worker="2"' in server.request("GET", "/metrics")[2])
        assert server.request("POST", "/predict", {"text": "fever"})[0] == 200
        check_drained(server, signal.SIGKILL)


def test_sigterm_lets_all_in_flight_be_answered(keyed: RunningServer) -> None:
    """The last test of this server, which it ends."""
    check_drained(keyed, signal.SIGTERM)
    assert keyed.process.returncode == 0
