"""The engine: what it computes together, what it leaves out, and that one work's fault stays its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manyheads as mh
from manyheads.data.texts.texts import read_texts_from_list
from manyheads.errors import InputError
from manyheads.server.engine import Engine, PredictWork, Work, tokens_of
from manyheads.server.engine.engine import AbandonedError, WorkFailedError
from manyheads.server.engine.job import DeadlineError
from manyheads.server.engine.queue import ClosedError, QueueFullError
from manyheads.server.metrics.metrics import Metrics
from manyheads.server.served import Served, Serving
from manyheads.server.settings import ServerSettings
from tests.families import TEXTS

# Far beyond what a test takes: it ends a test that hangs.
PATIENCE = 20.0


@pytest.fixture(scope="module")
def model(saved: Callable[[str], Path]) -> mh.HeadedModel:
    model = mh.HeadedModel.from_pretrained(saved("bert"))
    model.add_head("urgency", mh.Multiclass(labels=["low", "high"])).trained = True
    model.core.backbone.use_token_budget(64)
    return model


@pytest.fixture(scope="module")
def served(model: mh.HeadedModel) -> Served:
    return Served.of(model.core, model.tokenizer)


@dataclass
class Gate:
    """Stops the model's thread in its first batch, and notes the batches."""

    batches: list[list[object]] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def pass_through(self, batch: list[object]) -> None:
        self.batches.append(batch)
        self.entered.set()
        assert self.opened.wait(PATIENCE)


@dataclass(frozen=True, eq=False)
class Named(Work[object]):
    """A work whose answer is its name; a name that is an exception is raised by the whole batch."""

    gate: Gate
    name: object
    size: int = 1
    group: Hashable = "names"
    rows: int = 1

    def run(self, served: Served, others: Sequence[Work[object]]) -> list[object]:
        names = [work.name for work in (self, *others) if isinstance(work, Named)]
        self.gate.pass_through(names)
        for name in names:
            if isinstance(name, BaseException):
                raise name
        return names


class Forgetful(Named):
    """Returns an answer too few."""

    def run(self, served: Served, others: Sequence[Work[object]]) -> list[object]:
        return super().run(served, others)[1:]


@contextmanager
def running(served: Served, **settings: Any) -> Iterator[Engine]:
    engine = Engine(Serving(served), ServerSettings(**settings), Metrics())
    engine.start()
    try:
        yield engine
    finally:
        engine.queue.close()


async def until(condition: Callable[[], object]) -> None:
    async def polling() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(polling(), PATIENCE)


async def occupied(engine: Engine, gate: Gate) -> asyncio.Task[Any]:
    """Occupy the model with a first work, which ends when the gate is opened."""
    first = asyncio.ensure_future(engine.answer(Named(gate, "first")))
    await until(gate.entered.is_set)
    return first


async def asked(engine: Engine, works: Sequence[Work[Any]]) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(engine.answer(work)) for work in works]
    await until(lambda: len(engine.queue) == len(works))
    return tasks


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


async def outcomes(tasks: Sequence[Awaitable[Any]]) -> list[object]:
    """Return the answers, without the model that gave them, and the errors."""
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return [one if isinstance(one, BaseException) else one[1] for one in found]


def test_what_gathers_while_the_model_computes_is_one_batch_per_group_within_the_budget(served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        with running(served, batch_tokens=10) as engine:
            first = await occupied(engine, gate)
            works = [Named(gate, 1, 4), Named(gate, 2, 5, "others"), Named(gate, 3, 4), Named(gate, 4, 4)]
            tasks = await asked(engine, [*works, Named(gate, 5, 2)])
            gate.opened.set()
            assert await outcomes([first, *tasks]) == ["first", 1, 2, 3, 4, 5]
            assert gate.batches == [["first"], [1, 3, 5], [2], [4]]
            assert (len(engine.queue), engine.queue.tokens) == (0, 0)

    in_loop(test)


def test_nothing_is_computed_for_requests_that_left_and_they_give_up_their_places(served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        with running(served, max_waiting=100) as engine:
            first = await occupied(engine, gate)
            leaving = await asked(engine, [Named(gate, number) for number in range(100)])
            with pytest.raises(QueueFullError):
                await engine.answer(Named(gate, "one too many"))
            for task in leaving:
                task.cancel()
            await until(lambda: len(engine.queue) == 0)
            staying = await asked(engine, [Named(gate, "stays")])
            gate.opened.set()
            assert await outcomes([first, *staying]) == ["first", "stays"]
            assert gate.batches == [["first"], ["stays"]]

    in_loop(test)


class PanicError(BaseException):
    """Like the panic of an extension in Rust, which is no ``Exception``."""


@pytest.mark.parametrize("fault", [InputError("bad text"), PanicError(), StopIteration(), MemoryError()])
def test_a_fault_of_one_work_is_not_that_of_the_others_in_its_batch(fault: BaseException, served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        with running(served) as engine:
            first = await occupied(engine, gate)
            tasks = await asked(engine, [Named(gate, fault if number == 3 else number) for number in range(8)])
            gate.opened.set()
            answers = await outcomes([first, *tasks])
            failed = answers.pop(4)
            assert answers == ["first", 0, 1, 2, 4, 5, 6, 7]
            if isinstance(fault, InputError):
                assert failed is fault
            else:
                assert isinstance(failed, WorkFailedError)
                assert failed.__cause__ is fault
            assert (await engine.answer(Named(gate, "after")))[1] == "after"

    in_loop(test)


def test_a_wrong_number_of_answers_is_a_fault_and_not_a_shift_of_answers(served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        gate.opened.set()
        with running(served) as engine:
            with pytest.raises(WorkFailedError):
                await engine.answer(Forgetful(gate, 1))
            assert (await engine.answer(Named(gate, "after")))[1] == "after"

    in_loop(test)


def test_a_work_whose_deadline_passes_is_dropped(served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        with running(served, deadline_seconds=0.05) as engine:
            first = await occupied(engine, gate)
            late = await asked(engine, [Named(gate, "late")])
            assert [type(outcome) for outcome in await outcomes([first, *late])] == [DeadlineError, DeadlineError]
            assert len(engine.queue) == 0
            gate.opened.set()
            assert (await engine.answer(Named(gate, "after")))[1] == "after"
            assert gate.batches == [["first"], ["after"]]

    in_loop(test)


def test_stopping_computes_what_waits_and_starting_again_accepts_work(served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        with running(served) as engine:
            first = await occupied(engine, gate)
            waiting = await asked(engine, [Named(gate, "waits")])
            stopping = asyncio.ensure_future(asyncio.to_thread(engine.stop))
            await until(lambda: engine.queue.is_closed)
            with pytest.raises(ClosedError):
                await engine.answer(Named(gate, "too late"))
            gate.opened.set()
            assert await outcomes([first, *waiting]) == ["first", "waits"]
            await stopping
            engine.start()
            assert (await engine.answer(Named(gate, "again")))[1] == "again"

    in_loop(test)


def test_one_work_may_be_larger_than_the_queue_but_only_if_nothing_waits(served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        with running(served, max_waiting_tokens=100, batch_tokens=10) as engine:
            first = await occupied(engine, gate)
            large = await asked(engine, [Named(gate, "large", 1000)])
            with pytest.raises(QueueFullError):
                await engine.answer(Named(gate, "small"))
            gate.opened.set()
            assert await outcomes([first, *large]) == ["first", "large"]

    in_loop(test)


@contextmanager
def gated_forward(model: mh.HeadedModel, gate: Gate) -> Iterator[None]:
    """Note the number of rows of each forward of the backbone, and stop in the first."""
    hook = model.core.backbone.stack.register_forward_pre_hook(
        lambda _, args, kwargs: gate.pass_through([len(kwargs.get("input_ids", args[0] if args else ()))]),
        with_kwargs=True,
    )
    try:
        yield
    finally:
        hook.remove()


def predicting(texts: Sequence[str]) -> PredictWork:
    return PredictWork(read_texts_from_list(texts))


def test_a_large_request_lets_small_ones_pass_and_keeps_the_bits_of_predict(
    model: mh.HeadedModel, served: Served
) -> None:
    expected = model.predict(TEXTS * 4).scores["urgency"]

    async def test() -> None:
        gate, order = Gate(), []
        with running(served, batch_tokens=64) as engine, gated_forward(model, gate):
            large = asyncio.ensure_future(engine.answer(predicting(TEXTS * 4)))
            await until(gate.entered.is_set)
            (small,) = await asked(engine, [predicting(TEXTS[:1])])
            for name, task in (("large", large), ("small", small)):
                task.add_done_callback(lambda _, name=name: order.append(name))
            gate.opened.set()
            answers, alone = await outcomes([large, small])
        assert order == ["small", "large"]
        assert isinstance(answers, list)
        scores = [answer.predictions["urgency"].scores["high"] for answer in answers]
        assert np.array_equal(scores, expected[:, 1].astype(float))
        assert len(gate.batches) > 3
        assert gate.batches[1] == [1]
        assert isinstance(alone, list)

    in_loop(test)


def test_a_large_request_whose_client_left_is_abandoned_after_a_batch(model: mh.HeadedModel, served: Served) -> None:
    async def test() -> None:
        gate = Gate()
        with running(served, batch_tokens=64) as engine, gated_forward(model, gate):
            large = asyncio.ensure_future(engine.answer(predicting(TEXTS * 4)))
            await until(gate.entered.is_set)
            large.cancel()
            await asyncio.wait([large])
            gate.opened.set()
            await engine.answer(predicting(TEXTS[:1]))
            assert len(gate.batches) == 2

    in_loop(test)


def test_a_pass_that_nobody_waits_for_stops_before_its_first_batch(model: mh.HeadedModel, served: Served) -> None:
    def nobody() -> None:
        raise AbandonedError

    gate = Gate()
    gate.opened.set()
    with gated_forward(model, gate), pytest.raises(AbandonedError):
        predicting(TEXTS).run(served.pausing(nobody), [])
    assert not gate.batches


@pytest.mark.parametrize(
    ("text", "tokens"), [("a" * 400, 101), ("痛" * 400, 301), ("\U0001f600" * 400, 401), ("\ud800" * 4, 4), ("", 1)]
)
def test_tokens_are_estimated_from_bytes(text: str, tokens: int) -> None:
    assert tokens_of(text) == tokens


def test_a_turn_is_passed_on_to_the_thread_that_waits(served: Served) -> None:
    engine = Engine(Serving(served), ServerSettings(), Metrics())
    ran: Future[bool] = Future()
    with engine.turns.turn():
        engine.turns.pass_on()  # nobody waits
        other = threading.Thread(target=lambda: _in_turn(engine, ran))
        other.start()
        end = time.monotonic() + PATIENCE
        while not ran.done() and time.monotonic() < end:
            engine.turns.pass_on()
        assert ran.done()
    other.join()


def _in_turn(engine: Engine, ran: Future[bool]) -> None:
    with engine.turns.turn():
        ran.set_result(True)
