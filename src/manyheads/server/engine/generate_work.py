"""Texts to continue, and their heads' answers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from manyheads.data.texts.texts import Texts
from manyheads.inference.generation_events import Event
from manyheads.inference.streamed_generation import StreamedGeneration
from manyheads.server.engine.work import Work, tokens_of
from manyheads.server.served import Served


@dataclass(frozen=True, eq=False)
class GenerateWork(Work[None]):
    """Texts to continue, and their heads' answers. Its results are events, given out while it runs.

    Attributes:
        texts: The texts.
        heads: Names of heads; ``None`` for all.
        options: Options of ``generate``.
        stop: A text ends before the first of these strings.
        receive: Called with the model that answers and each event, on the event loop of the request.
        seed: The seed of the random numbers that sampling draws.
    """

    texts: Texts
    heads: tuple[str, ...] | None
    options: Mapping[str, Any]
    stop: tuple[str, ...]
    receive: Callable[[Served, Event], None]
    seed: int = field(default_factory=lambda: secrets.randbits(63))

    @property
    def group(self) -> Hashable:
        """Each is computed alone: its texts are one batch, with options of its own."""
        return id(self)

    @property
    def size(self) -> int:
        """About how many tokens its texts have, those to generate included."""
        new = len(self.texts) * int(self.options["max_new_tokens"])
        return new + sum(tokens_of(text) for text in self.texts.texts if isinstance(text, str))

    @property
    def rows(self) -> int:
        """How many texts it has."""
        return len(self.texts)

    def prepared(self, served: Served) -> StreamedGeneration:
        """Return the generation.

        Raises:
            ManyheadsError: the model cannot continue the texts.
        """
        return StreamedGeneration(
            served.core, served.tokenizer, served.scorer, self.texts, self.heads, self.options, self.stop
        )

    def run(self, served: Served, others: Sequence[Work[None]]) -> list[Exception | None]:
        """Generate at once, without a stop between two tokens."""
        self.prepared(served).run(lambda event: self.receive(served, event), lambda: True)
        return [None]
