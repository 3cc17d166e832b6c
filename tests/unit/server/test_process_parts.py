"""The parts of the server as a process: addresses, links between processes, the log, metrics of workers, and who may
reload.
"""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import manyheads as mh
from manyheads.errors import ConfigError
from manyheads.server import ServerSettings, create_app
from manyheads.server.json_log import JsonFormatter
from manyheads.server.metrics.exposition import exposition, of_workers
from manyheads.server.process.address import Address, check_reach, free_address
from manyheads.server.process.link import Link, LinkClosedError
from manyheads.server.process.stopping import Stopping
from manyheads.server.process.threads import cores, threads_of_worker
from manyheads.server.saved import SavedModel
from manyheads.server.served import Serving
from tests.families import BY_NAME, save_family
from tests.unit.cli.test_app import called


@pytest.fixture(scope="module")
def folder(saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "model"
    save(mh.HeadedModel.from_pretrained(saved("bert")), folder)
    return folder


def save(model: mh.HeadedModel, folder: Path) -> None:
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"])).trained = True
    model.save_pretrained(folder)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another server has, one that would share it."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_is_free_or_named(taken: int) -> None:
    free = free_address("localhost", 0)
    assert (free.ip, free.is_loopback) in {("127.0.0.1", True), ("::1", True)}
    assert free.port > 0
    with pytest.raises(ConfigError, match=f"--port {taken}: is in use on 127.0.0.1; stop its server"):
        free_address("127.0.0.1", taken)
    with pytest.raises(ConfigError, match=r"--host 192\.0\.2\.1: is no address of this machine"):
        free_address("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="no such host"):
        free_address("no host", 0)


@pytest.mark.parametrize("ip", ["0.0.0.0", "::", "192.168.1.7", "10.0.0.1"])
def test_others_reach_a_server_only_with_a_key_or_on_purpose(ip: str) -> None:
    with pytest.raises(ConfigError, match=r"there is no key; add --api-key-env NAME, or --public-without-key"):
        check_reach(Address(ip, 8000), None, public_without_key=False)
    check_reach(Address(ip, 8000), "key", public_without_key=False)
    check_reach(Address(ip, 8000), None, public_without_key=True)


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_needs_no_key(ip: str) -> None:
    check_reach(Address(ip, 8000), None, public_without_key=False)


def test_the_command_ends_with_one_line(
    folder: Path, taken: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY_KEY", " ")
    for options, code, expected in (
        (["--port", taken], 1, f"--port {taken}: is in use on 127.0.0.1; stop its server, or choose another port"),
        (["--host", "0.0.0.0", "--port", 0], 1, "--host 0.0.0.0: other machines may reach it, and there is no key"),
        (["--api-key-env", "NO_SUCH_KEY"], 1, "--api-key-env NO_SUCH_KEY: the environment has no such variable"),
        (["--api-key-env", "EMPTY_KEY"], 1, "--api-key-env EMPTY_KEY: the environment has no such variable, or it is"),
        (["--deadline", 0], 1, "deadline_seconds: must be above 0"),
        (["--workers", 0], 2, "invalid value for '--workers'"),
        (["--port", 70_000], 2, "invalid value for '--port'"),
        (["--hots", "x"], 2, "no such option '--hots'; did you mean '--host'?"),
    ):
        assert called("serve", folder, *options) == code
        written = capsys.readouterr()
        assert written.err.startswith(f"manyheads: {expected}"), options
        assert written.err.count("\n") == 1
        assert not written.out


def test_a_missing_package_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("manyheads.server.run._NEEDED", ("fastapi", "no_such_package"))
    assert called("serve", folder) == 1
    expected = (
        "manyheads: The server needs the package 'no_such_package'; install it with: pip install 'manyheads[serve]'\n"
    )
    assert capsys.readouterr().err == expected


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_of_worker(1) is None
    assert threads_of_worker(2) == max(1, cores() // 2)
    assert threads_of_worker(1000) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of_worker(2) is None


def test_a_link_answers_both_ways_and_ends_with_the_other_process() -> None:
    async def talk() -> list[int]:
        here, there = multiprocessing.Pipe()
        closed = asyncio.Event()

        async def number() -> int:
            return 7

        async def failing() -> int:
            raise ConfigError("no number")

        async def never() -> None:
            await asyncio.Event().wait()

        one = Link(here, {"number": number}, closed=lambda: None)
        other = Link(there, {"failing": failing, "never": never}, closed=closed.set)
        found = await asyncio.gather(*(other.ask("number") for _ in range(3)))
        with pytest.raises(ConfigError, match="no number"):
            await one.ask("failing")
        with pytest.raises(KeyError):
            await one.ask("nothing")
        waiting = asyncio.ensure_future(one.ask("never"))
        await asyncio.sleep(0)
        one.close()
        with pytest.raises(LinkClosedError):
            await waiting
        await closed.wait()
        with pytest.raises(LinkClosedError):
            await other.ask("number")
        return found

    assert asyncio.run(asyncio.wait_for(talk(), 30)) == [7, 7, 7]


def test_a_process_ends_when_what_is_in_flight_takes_too_long(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", lambda code: (codes.append(code), ended.set()))

    async def stop() -> None:
        stopping = Stopping(0.01)
        stopping.begin()
        stopping.begin()
        await stopping.begun()
        ended.wait(30)  # as if the event loop were what takes too long

    with caplog.at_level(logging.WARNING, "manyheads.server"):
        asyncio.run(stop())
    assert codes == [0]
    assert "no answer when the time to stop was over" in caplog.text


def test_the_log_names_errors_without_their_messages() -> None:
    try:
        try:
            raise ValueError("chest pain")
        except ValueError as error:
            raise RuntimeError("my text") from error
    except RuntimeError:
        record = logging.makeLogRecord(
            {
                "msg": "a request\nfailed",
                "levelname": "ERROR",
                "exc_info": sys.exc_info(),
                "fields": {"rows": 2, "x": None},
            }
        )
    line = JsonFormatter().format(record)
    assert "pain" not in line
    assert "text" not in line
    found = json.loads(line)
    assert found["exception"] == "RuntimeError"
    assert found["causes"] == ["ValueError"]
    assert found["stack"][-1].endswith("test_the_log_names_errors_without_their_messages")
    assert (found["message"], found["level"], found["rows"]) == ("a request failed", "error", 2)
    assert "x" not in found


def test_metrics_of_workers_are_one_family_each() -> None:
    by_worker = {}
    for worker, count in (("1", 3), ("2", 4)):
        registry = CollectorRegistry()
        Counter("rows", "Rows.", ["head"], registry=registry).labels("urgency").inc(count)
        by_worker[worker] = list(registry.collect())
    content, content_type = exposition(of_workers(by_worker), "")
    (family,) = [family for family in text_string_to_metric_families(content.decode()) if family.name == "rows"]
    assert {sample.labels["worker"]: sample.value for sample in family.samples if sample.name == "rows_total"} == {
        "1": 3,
        "2": 4,
    }
    assert content_type.startswith("text/plain")
    assert exposition([], "application/openmetrics-text; version=1.0.0")[0].endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("client", "headers", "key", "status"),
    [
        ("127.0.0.1", {}, None, 200),
        ("192.168.1.7", {}, None, 403),
        ("unix", {}, None, 403),
        ("127.0.0.1", {"origin": "https://elsewhere.example"}, None, 403),
        ("127.0.0.1", {"x-forwarded-for": "192.0.2.1"}, None, 403),
        ("127.0.0.1", {}, "key", 401),
        ("192.168.1.7", {"authorization": "Bearer key", "x-forwarded-for": "192.0.2.1"}, "key", 200),
    ],
)
def test_a_reload_needs_the_key_or_this_machine(
    folder: Path, client: str, headers: Mapping[str, str], key: str | None, status: int
) -> None:
    app = create_app(folder, ServerSettings(api_key=key))
    with TestClient(app, client=(client, 1)) as ask:
        assert ask.post("/admin/reload", headers=headers).status_code == status


def test_a_model_object_cannot_be_reloaded_and_goes_on(folder: Path) -> None:
    with TestClient(create_app(mh.HeadedModel.from_pretrained(folder)), client=("127.0.0.1", 1)) as ask:
        refused = ask.post("/admin/reload")
        assert refused.status_code == 409
        assert "serve a folder to reload it" in refused.json()["detail"]["message"]
        assert ask.post("/predict", json={"text": "fever"}).status_code == 200
        assert 'manyheads_reloads_total{result="failed"} 1.0' in ask.get("/metrics").text


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
@pytest.mark.parametrize(("dtype", "turns"), [(torch.float32, 0), (torch.bfloat16, 1)])
def test_only_a_model_that_changes_the_default_dtype_is_loaded_in_a_turn(
    tmp_path: Path, dtype: torch.dtype, turns: int, named: bool
) -> None:
    save_family(BY_NAME["bert"], tmp_path / "tiny")
    BY_NAME["bert"].build().to(dtype).save_pretrained(tmp_path / "tiny")
    config = json.loads((tmp_path / "tiny" / "config.json").read_text())
    assert config["dtype"] == str(dtype).removeprefix("torch.")
    if not named:  # as older versions of transformers saved it
        (tmp_path / "tiny" / "config.json").write_text(json.dumps(config | {"dtype": None}))
    save(mh.HeadedModel.from_pretrained(tmp_path / "tiny"), tmp_path / "model")
    serving = Serving.opened(SavedModel(str(tmp_path / "model")))
    assert serving.current.core.backbone.model.dtype == dtype
    taken: list[torch.dtype] = []

    @contextmanager
    def turn() -> Iterator[None]:
        taken.append(torch.get_default_dtype())
        yield

    before = serving.current
    after = serving.reload(turn)
    assert taken == [torch.float32] * turns
    assert after is serving.current is not before
    assert after.fingerprint == before.fingerprint
    assert torch.get_default_dtype() == torch.float32
