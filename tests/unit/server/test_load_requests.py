"""Requests under load: who is answered, who is told to come back, and what is never computed."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from granian.server.embed import Server

import manyheads as mh
from manyheads.server import ServerSettings, create_app
from manyheads.server.engine import Engine
from tests.asgi import Client, Response, started, until
from tests.families import TEXTS

PATIENCE = 30.0


@pytest.fixture(scope="module")
def model(saved: Callable[[str], Path]) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"])).trained = True
    model.add_head("hours", mh.Regression()).trained = True
    return model


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines that are started."""
    found: list[Engine] = []
    start = Engine.start
    monkeypatch.setattr(Engine, "start", lambda engine: (found.append(engine), start(engine))[1])
    return found


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


@dataclass
class Gate:
    """Stops the backbone in its first forward, and counts the rows of each."""

    rows: list[int] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


@contextmanager
def gated(model: mh.HeadedModel) -> Iterator[Gate]:
    gate = Gate()

    def stop(_: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        gate.rows.append(len(kwargs["input_ids"] if "input_ids" in kwargs else args[0]))
        gate.entered.set()
        assert gate.opened.wait(PATIENCE)

    hook = model.core.backbone.stack.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        yield gate
    finally:
        gate.opened.set()
        hook.remove()


async def occupied(client: Client, gate: Gate) -> asyncio.Task[Response]:
    first = asyncio.ensure_future(client.predict(text="first"))
    await until(gate.entered.is_set)
    return first


def test_answers_equal_predict_to_the_last_bit(model: mh.HeadedModel) -> None:
    expected = model.predict(TEXTS)

    async def test() -> None:
        async with started(create_app(model)) as client:
            answers = (await client.predict(texts=TEXTS)).json()["predictions"]
        assert [answer["urgency"]["score"] for answer in answers] == [row["urgency"].score for row in expected]
        assert [answer["hours"]["value"] for answer in answers] == [row["hours"].value for row in expected]

    in_loop(test)


def test_of_400_requests_at_once_as_many_wait_as_may_and_the_others_get_429(
    model: mh.HeadedModel, engines: list[Engine]
) -> None:
    async def test() -> None:
        async with started(create_app(model, ServerSettings(max_waiting=32))) as client:
            with gated(model) as gate:
                first = await occupied(client, gate)
                tasks = [asyncio.ensure_future(client.predict(text=TEXTS[row % 12])) for row in range(400)]
                await until(lambda: sum(task.done() for task in tasks) == 369)
                await until(lambda: len(engines[0].queue) == 31)  # one is computed
                gate.opened.set()
                responses = await asyncio.gather(first, *tasks)
            assert sum(gate.rows) == 13  # equal texts are read once
            assert (await client.predict(text="after")).status == 200
        assert [response.status for response in responses].count(200) == 32
        rejected = [response for response in responses if response.status != 200]
        assert {response.status for response in rejected} == {429}
        assert all(int(response.headers["retry-after"]) >= 1 for response in rejected)
        assert rejected[0].json()["detail"]["error_type"] == "overloaded"

    in_loop(test)


def test_a_request_too_many_is_rejected_before_it_is_read_and_health_is_not(model: mh.HeadedModel) -> None:
    async def test() -> None:
        app = create_app(model, ServerSettings(max_waiting=1))
        async with started(app) as client:
            with gated(model) as gate:
                first = await occupied(client, gate)
                assert (await client.post("/predict", b"no JSON")).status == 429
                assert (await client.request("GET", "/health/ready", b"", [])).status == 200
                gate.opened.set()
                assert (await first).status == 200
            assert (await client.post("/predict", b"no JSON")).status == 422

    in_loop(test)


def test_nothing_is_computed_for_clients_that_left(model: mh.HeadedModel, engines: list[Engine]) -> None:
    async def test() -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with started(create_app(model)) as client:
            with gated(model) as gate:
                first = await occupied(client, gate)
                leaving = Client(client.app)
                tasks = [asyncio.ensure_future(leaving.predict(text="gone")) for _ in range(100)]
                await until(lambda: len(engines[0].queue) == 100)
                leaving.leaves.set()
                responses = await asyncio.gather(*tasks)
                await until(lambda: len(engines[0].queue) == 0)
                gate.opened.set()
                assert (await first).status == 200
                assert (await client.predict(text="after")).status == 200
            assert gate.rows == [1, 1]
        assert {response.status for response in responses} == {None}
        del tasks
        gc.collect()
        assert not errors

    in_loop(test)


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """Let granian answer at a free port, in this event loop."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(app, address="127.0.0.1", port=port, interface="asgi", backlog=1024, log_enabled=False)
    running = asyncio.ensure_future(server.serve())
    while not running.done():
        try:
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
            break
        except OSError:
            await asyncio.sleep(0.01)
    try:
        yield port
    finally:
        server.stop()
        await running


async def sent(port: int, text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request over a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"text": text}).encode()
    writer.write(b"POST /predict HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    return reader, writer


def test_closed_connections_are_noticed_while_their_requests_wait(model: mh.HeadedModel, engines: list[Engine]) -> None:
    async def test() -> None:
        async with listening(create_app(model)) as port:
            with gated(model) as gate:
                first, first_writer = await sent(port, "first")
                await until(gate.entered.is_set)
                clients = [await sent(port, "gone") for _ in range(100)]
                await until(lambda: len(engines[0].queue) == 100)
                for _, writer in clients:
                    writer.close()
                await until(lambda: len(engines[0].queue) == 0)
                gate.opened.set()
                assert (await first.readline()).split()[1] == b"200"
                first_writer.close()
            assert gate.rows == [1]

    in_loop(test)


def test_one_text_that_cannot_be_answered_among_eight_requests_fails_alone(
    model: mh.HeadedModel, engines: list[Engine]
) -> None:
    texts = ["cough " * 100 if row == 3 else TEXTS[row] for row in range(8)]

    async def test() -> None:
        async with started(create_app(model)) as client:
            with gated(model) as gate:
                first = await occupied(client, gate)
                tasks = [asyncio.ensure_future(client.predict(text=text, truncate=False)) for text in texts]
                await until(lambda: len(engines[0].queue) == 8)
                gate.opened.set()
                responses = await asyncio.gather(*tasks)
                await first
        statuses = [response.status for response in responses]
        assert statuses == [422 if row == 3 else 200 for row in range(8)]
        (problem,) = responses[3].json()["detail"]
        assert problem["loc"] == ["body", "text"]
        assert problem["msg"].startswith("has ")
        expected = model.predict([text for row, text in enumerate(texts) if row != 3])
        scores = [
            response.json()["predictions"][0]["urgency"]["score"] for response in responses if response.status == 200
        ]
        assert scores == pytest.approx([row["urgency"].score for row in expected], abs=1e-5)

    in_loop(test)


def test_a_request_beyond_its_deadline_gets_504_and_is_not_computed(model: mh.HeadedModel) -> None:
    async def test() -> None:
        async with started(create_app(model, ServerSettings(deadline_seconds=0.1))) as client:
            with gated(model) as gate:
                first = await occupied(client, gate)
                late = await client.predict(text="late")
                assert ((await first).status, late.status) == (504, 504)
                assert late.json()["detail"]["error_type"] == "timeout"
            await client.predict(text="after")
            assert len(gate.rows) == 1

    in_loop(test)


def test_an_error_of_the_model_that_comes_after_its_client_left_is_no_loose_end(
    model: mh.HeadedModel, engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with started(create_app(model)) as client:
            broken = asyncio.Event()

            async def failing(_: Engine, work: object) -> None:
                try:
                    await broken.wait()
                finally:
                    raise RuntimeError("after the client left")

            monkeypatch.setattr(Engine, "answer", failing)
            leaving = asyncio.ensure_future(client.predict(text="gone"))
            await asyncio.sleep(0)
            client.leaves.set()
            assert (await leaving).status is None
            gc.collect()
            await asyncio.sleep(0)
            gc.collect()
        assert not errors

    in_loop(test)


def test_long_texts_never_reach_the_tokenizer(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(model, ServerSettings(max_characters=1000))
    tokenized: list[object] = []
    tokenizer = type(model.tokenizer)
    monkeypatch.setattr(tokenizer, "__call__", lambda _, *args, **kwargs: tokenized.append(args))
    long = "cough " * 200
    bodies = [{"text": long}, {"texts": ["a", long]}, {"words": [["a"] * 1000]}, {"pairs": [["a", long]]}]

    async def test() -> None:
        async with started(app) as client:
            responses = [await client.predict(**body) for body in bodies]
            large = await client.post("/predict", [b'{"text":"' + b"a" * (1 << 20)] * 10)
        assert [response.status for response in responses] == [422] * 4
        assert {response.json()["detail"][0]["type"] for response in responses} == {"string_too_long"}
        assert large.status == 413
        assert not tokenized

    in_loop(test)


def test_the_bodies_of_all_requests_together_are_bounded(model: mh.HeadedModel, engines: list[Engine]) -> None:
    body = json.dumps({"text": "a" * 1000}).encode()

    async def test() -> None:
        async with started(create_app(model, ServerSettings(max_held_bytes=10 * len(body)))) as client:
            with gated(model) as gate:
                tasks = [asyncio.ensure_future(client.post("/predict", body)) for _ in range(20)]
                await until(lambda: sum(task.done() for task in tasks) == 10)
                gate.opened.set()
                statuses = [(await task).status for task in tasks]
            assert sorted(status or 0 for status in statuses) == [200] * 10 + [429] * 10
            assert (await client.post("/predict", body)).status == 200

    in_loop(test)


def test_a_server_that_shuts_down_says_so(model: mh.HeadedModel, engines: list[Engine]) -> None:
    async def test() -> None:
        async with started(create_app(model)) as client:
            engines[0].queue.close()
            response = await client.predict(text="a")
        assert response.status == 503
        assert response.json()["detail"]["error_type"] == "shutting_down"

    in_loop(test)
