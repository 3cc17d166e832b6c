"""``POST /generate``: its answers, its events, and what happens beside and instead of a generation."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import manyheads as mh
from manyheads.server import ServerSettings, create_app
from manyheads.server.http import event_stream
from tests.asgi import Client, Response, started, until
from tests.families import BY_NAME, TEXTS, tokenizer_for

PATIENCE = 60.0
# Far more tokens than a test waits for.
ENDLESS = 100_000
LONG = ServerSettings(max_new_tokens=ENDLESS)


def endless_model() -> mh.HeadedModel:
    """Return a Llama with two heads that never ends its texts by itself."""
    backbone = BY_NAME["llama"].build()
    backbone.generation_config.eos_token_id = None
    model = mh.HeadedModel.wrap(backbone, tokenizer_for(BY_NAME["llama"]))
    for name in ("urgency", "sent"):
        model.add_head(name, mh.Multiclass(labels=["no", "yes"], reads=mh.Hidden())).trained = True
    assert model.core.backbone.can_interleave  # observed here, so that tests count calls of their own only
    return model


@pytest.fixture(scope="module")
def model() -> mh.HeadedModel:
    return endless_model()


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


async def generate(client: Client, **body: Any) -> Response:
    return await client.post("/generate", json.dumps(body).encode())


def events_of(response: Response) -> list[tuple[str, Any]]:
    """Return the names and the data of all events, as the standard splits them."""
    blocks = [block.splitlines() for block in response.body.decode().split("\n\n") if block and block[0] != ":"]
    assert all(len(block) == 2 for block in blocks)
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


@dataclass
class Gate:
    """Counts the calls of the whole model that generations make, and stops one of them.

    Attributes:
        at: The number of the call to stop.
    """

    at: int = 1
    calls: int = 0
    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.entered.set()
            assert self.opened.wait(PATIENCE)


@contextmanager
def gated(model: mh.HeadedModel, at: int = 1) -> Iterator[Gate]:
    gate = Gate(at)
    hook = model.backbone.register_forward_pre_hook(gate)
    try:
        yield gate
    finally:
        gate.opened.set()
        hook.remove()


@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_is_that_of_generate_and_predict(model: mh.HeadedModel, stream: bool) -> None:
    texts = TEXTS[:3]
    torch.manual_seed(11)
    written, predictions = model.generate_and_predict(
        texts, max_new_tokens=6, do_sample=True, temperature=2.0, top_k=20
    )
    before = torch.get_rng_state()

    async def test() -> None:
        options = {"max_new_tokens": 6, "do_sample": True, "temperature": 2.0, "top_k": 20, "seed": 11}
        async with started(create_app(model)) as client:
            response = await generate(client, texts=texts, stream=stream, **options)
        assert response.status == 200
        if stream:
            assert response.headers["content-type"].startswith("text/event-stream")
            (first, answer), *pieces, (last, end) = events_of(response)
            assert (first, last, {name for name, _ in pieces}) == ("predictions", "end", {"text"})
            assert 12 <= len(pieces) <= 18  # a piece for each token that has text
            found = ["".join(data["text"] for _, data in pieces if data["index"] == row) for row in range(3)]
            answer |= end
        else:
            answer = response.json()
            found = answer["texts"]
        assert found == written
        assert [row["urgency"]["score"] for row in answer["predictions"]] == [
            row["urgency"].score for row in predictions
        ]
        assert [row["sent"]["label"] for row in answer["predictions"]] == [row["sent"].label for row in predictions]
        tokens = sum(len(model.tokenizer(text)["input_ids"]) for text in texts)
        assert answer["usage"] == {"input_tokens": tokens, "output_tokens": 18}
        assert answer["finish"] == ["length"] * 3
        assert response.headers["x-manyheads-fingerprint"] == answer["fingerprint"]

    in_loop(test)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_stop_strings_and_chosen_heads(model: mh.HeadedModel) -> None:
    async def test() -> None:
        async with started(create_app(model)) as client:
            sampled = {"text": TEXTS[0], "do_sample": True, "max_new_tokens": 12}
            texts = [
                (await generate(client, **sampled, **own)).json()["texts"] for own in ({}, {}, {"seed": 3}, {"seed": 3})
            ]
            assert texts[0] != texts[1] != texts[2] == texts[3]
            word = texts[3][0].split()[4]
            answer = (await generate(client, **sampled, seed=3, stop=["never", word], heads=["sent"])).json()
            assert answer["texts"] == [texts[3][0].partition(word)[0]]
            assert (answer["finish"], list(answer["predictions"][0])) == (["stop"], ["sent"])
            assert answer["usage"]["output_tokens"] < 12
            answer = (await generate(client, text=TEXTS[0], max_new_tokens=2, heads=[])).json()
            assert answer["predictions"] == [{}]

    in_loop(test)


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ({}, ["body"], "give one of"),
        ({"texts": []}, ["body", "texts"], "has no text"),
        ({"text": "a", "max_new_tokens": 2000}, ["body", "max_new_tokens"], "at most 1,024"),
        ({"texts": ["a"] * 3, "num_beams": 6}, ["body"], "3 texts x 6 beams"),
        ({"text": "a", "temperature": 0.5}, ["body", "temperature"], "do_sample"),
        ({"text": "a", "heads": ["urgenzy"]}, ["body", "heads", 0], "is no head"),
        ({"text": "a", "stop": [""]}, ["body", "stop", 0], "at least 1 character"),
        ({"text": "cough " * 90}, ["body"], "has room for"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_done(
    model: mh.HeadedModel, body: dict[str, Any], place: list[Any], message: str, stream: bool
) -> None:
    async def test() -> None:
        async with started(create_app(model)) as client:
            response = await generate(client, **body, stream=stream)
        assert response.status == 422
        (problem,) = response.json()["detail"]
        assert problem["loc"] == place
        assert message in problem["msg"]

    in_loop(test)


def test_a_model_without_a_language_model_names_its_heads() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["bert"].build(), tokenizer_for(BY_NAME["bert"]))
    model.add_head("urgency", mh.Multiclass(labels=["no", "yes"])).trained = True

    async def test() -> None:
        async with started(create_app(model)) as client:
            response = await generate(client, text="a")
        assert response.status == 422
        assert "'urgency'" in response.json()["detail"][0]["msg"]

    in_loop(test)


def test_a_model_without_heads_generates() -> None:
    model = mh.HeadedModel.wrap(BY_NAME["gpt2"].build(), tokenizer_for(BY_NAME["gpt2"]))

    async def test() -> None:
        async with started(create_app(model)) as client:
            answer = (await generate(client, text="mild cough", max_new_tokens=3)).json()
        texts, _ = _without_heads(model)
        assert (answer["texts"], answer["predictions"]) == (texts, [{}])

    in_loop(test)


def _without_heads(model: mh.HeadedModel) -> tuple[list[str], mh.Predictions]:
    predictions, *pieces, _ = model.stream_generation(["mild cough"], max_new_tokens=3)
    return ["".join(piece.text for piece in pieces)], predictions


@pytest.mark.parametrize("can_interleave", [True, False])
def test_predictions_do_not_wait_for_a_long_text(can_interleave: bool) -> None:
    """They are answered between two tokens, unless the model keeps state in its modules."""
    model = endless_model()
    model.core.backbone.__dict__["can_interleave"] = can_interleave
    expected = [model.predict([text])[0]["urgency"].score for text in TEXTS[:4]]
    alone, _ = model.generate_and_predict(TEXTS[:1], max_new_tokens=200)

    async def test() -> None:
        answered: list[str] = []
        async with started(create_app(model)) as client:

            async def long_text() -> Response:
                response = await generate(client, text=TEXTS[0], max_new_tokens=200)
                answered.append("text")
                return response

            async def prediction(row: int) -> Any:
                response = await client.predict(text=TEXTS[row])
                answered.append("prediction")
                return response.json()["predictions"][0]

            with gated(model, at=3) as gate:
                generation = asyncio.ensure_future(long_text())
                await until(gate.entered.is_set)
                first = asyncio.ensure_future(prediction(0))
                gate.opened.set()
                found = [await first] + [await prediction(row) for row in range(1, 4)]
            answer = (await generation).json()
        # Without turns between tokens the first one is computed after the text; either response may then come first.
        assert answered.index("text") == 4 if can_interleave else answered.index("text") <= 1
        assert answer["texts"] == alone
        assert [row["urgency"]["score"] for row in found] == expected

    in_loop(test)


@pytest.mark.parametrize("stream", [False, True])
def test_a_generation_stops_when_the_client_leaves(model: mh.HeadedModel, stream: bool) -> None:
    async def test() -> None:
        async with started(create_app(model, LONG)) as client:
            with gated(model, at=5) as gate:
                leaver = Client(client.app)
                request = asyncio.ensure_future(generate(leaver, text=TEXTS[0], max_new_tokens=ENDLESS, stream=stream))
                await until(gate.entered.is_set)
                leaver.leaves.set()
                await request
                gate.opened.set()
                answer = await generate(client, text=TEXTS[1], max_new_tokens=2)
                assert answer.status == 200
                assert gate.calls == 5 + 2

    in_loop(test)


@pytest.mark.parametrize("stream", [False, True])
def test_a_generation_stops_at_its_deadline(model: mh.HeadedModel, stream: bool) -> None:
    settings = ServerSettings(max_new_tokens=ENDLESS, generation_seconds=0.3)

    async def test() -> None:
        async with started(create_app(model, settings)) as client:
            response = await generate(client, text=TEXTS[0], max_new_tokens=ENDLESS, stream=stream)
            detail = events_of(response)[-1][1]["detail"] if stream else response.json()["detail"]
            assert (response.status, detail["error_type"]) == (200 if stream else 504, "timeout")
            assert not stream or events_of(response)[-1][0] == "error"
            assert (await generate(client, text=TEXTS[1], max_new_tokens=2)).status == 200

    in_loop(test)


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_between_two_tokens_ends_its_own_generation(model: mh.HeadedModel, stream: bool) -> None:
    calls: list[int] = []

    def fail(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise ZeroDivisionError("private words of a text")

    async def test() -> None:
        async with started(create_app(model)) as client:
            hook = model.backbone.register_forward_pre_hook(fail)
            try:
                response = await generate(client, text=TEXTS[0], max_new_tokens=8, stream=stream)
            finally:
                hook.remove()
            assert b"private" not in response.body
            detail = events_of(response)[-1][1]["detail"] if stream else response.json()["detail"]
            assert detail["error_type"] == "internal_error"
            assert (
                [name for name, _ in events_of(response)] == ["predictions", "text", "text", "error"]
                if stream
                else True
            )
            assert response.status == (200 if stream else 500)
            assert (await generate(client, text=TEXTS[1], max_new_tokens=2)).status == 200

    in_loop(test)


def test_further_generations_wait_and_then_get_429(model: mh.HeadedModel) -> None:
    async def test() -> None:
        async with started(create_app(model, ServerSettings(max_generations=2))) as client:
            with gated(model) as gate:
                first = asyncio.ensure_future(generate(client, text=TEXTS[0], max_new_tokens=2))
                await until(gate.entered.is_set)
                others = [
                    asyncio.ensure_future(generate(client, text=TEXTS[row], max_new_tokens=2)) for row in range(5)
                ]
                await until(lambda: sum(other.done() for other in others) == 3)
                gate.opened.set()
                responses = await asyncio.gather(first, *others)
            assert [response.status for response in responses] == [200, 200, 200, 429, 429, 429]
            assert int(responses[-1].headers["retry-after"]) >= 1

    in_loop(test)


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_generated_for_a_client_that_left_while_it_waited(model: mh.HeadedModel, stream: bool) -> None:
    async def test() -> None:
        async with started(create_app(model, ServerSettings(max_generations=1))) as client:
            with gated(model) as gate:
                first = asyncio.ensure_future(generate(client, text=TEXTS[0], max_new_tokens=2))
                await until(gate.entered.is_set)
                leaver = Client(client.app)
                leaver.leaves.set()
                response = await generate(leaver, text=TEXTS[1], max_new_tokens=2, stream=stream)
                assert response.status is None
                last = asyncio.ensure_future(generate(client, text=TEXTS[2], max_new_tokens=3))  # there is room again
                gate.opened.set()
                assert [(await one).status for one in (first, last)] == [200, 200]
            assert gate.calls == 2 + 3

    in_loop(test)


def test_comments_keep_a_silent_stream_alive(model: mh.HeadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_KEEP_ALIVE_SECONDS", 0.01)
    chunks: list[bytes] = []

    async def test() -> None:
        async with started(create_app(model)) as client:

            async def noting(scope: Any, receive: Any, send: Any) -> None:
                async def note(message: dict[str, Any]) -> None:
                    chunks.append(message.get("body", b""))
                    await send(message)

                await client.app(scope, receive, note)

            with gated(model) as gate:
                request = asyncio.ensure_future(generate(Client(noting), text=TEXTS[0], max_new_tokens=2, stream=True))
                await until(lambda: sum(chunk.startswith(b":") for chunk in chunks) > 2)
                gate.opened.set()
                response = await request
        assert [name for name, _ in events_of(response)] == ["predictions", "text", "text", "end"]

    in_loop(test)
