"""Generation as an iterator of events."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any

from manyheads.core import HeadedCore
from manyheads.data.texts.texts import Texts
from manyheads.inference.generation_events import Event
from manyheads.inference.scorer import Scorer
from manyheads.inference.streamed_generation import StreamedGeneration
from manyheads.types import Tokenizer


def stream_generation(
    core: HeadedCore, tokenizer: Tokenizer, prompts: Texts, heads: Iterable[str] | None, options: Mapping[str, Any]
) -> Iterator[Event]:
    """Yield the events of a generation, which runs in a thread of its own; closing the iterator stops it.

    Args:
        core: Backbone and heads.
        tokenizer: The backbone's own.
        prompts: All of them are one batch.
        heads: Names of heads; all by default.
        options: Options of ``generate``.

    Raises:
        NoLanguageModelError: the backbone does not generate text.
        InputError: an option that is made from the prompts, or a prompt that leaves no room for new tokens.
    """
    return _events(StreamedGeneration(core, tokenizer, Scorer(core, tokenizer), prompts, heads, options))


def _events(generation: StreamedGeneration) -> Iterator[Event]:
    events: SimpleQueue[Event | BaseException | None] = SimpleQueue()
    stopped = threading.Event()

    def run() -> None:
        try:
            generation.run(events.put, lambda: not stopped.is_set())
        except BaseException as error:  # raised again where the events are read
            events.put(error)
        else:
            events.put(None)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="manyheads-generate", daemon=True)
    thread.start()
    try:
        while (event := events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event
    finally:
        stopped.set()
        thread.join()
