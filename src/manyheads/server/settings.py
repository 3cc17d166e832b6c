"""What a server allows, and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from manyheads.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """What a server allows, and how long it waits.

    Attributes:
        api_key: The bearer token that requests must have; ``None`` for none.
        max_body_bytes: Largest request body.
        max_held_bytes: Most bytes of the bodies of all unanswered requests; further ones get status 429.
        max_texts: Most texts of a request.
        max_characters: Most characters of a text, counted before it is tokenized: 10 MB take a tokenizer 8 s.
        max_rows: Most rows of a table that is uploaded.
        max_tables: Most tables that are scored at once; a further one gets status 429.
        max_waiting: Most requests that wait for their answers; further ones get status 429 before they are read.
        max_waiting_tokens: About how many tokens wait at most; further requests get status 429.
        batch_tokens: About how many tokens of several requests are computed together.
        deadline_seconds: A request that is not answered by then gets status 504.
        header_seconds: A connection without the whole header of a first or next request by then is closed.
            ``manyheads serve`` applies it; other ASGI servers have limits of their own.
        max_new_tokens: Most tokens that a request may ask to generate for each text.
        max_sequences: Most texts of a generation, times its beams.
        max_generations: Most generations that wait; further ones get status 429.
        generation_seconds: A generation that has not ended by then gets status 504.
        body_seconds: A request whose body has not arrived by then gets status 408.
        drain_seconds: A process that shall stop answers what is in flight for at most this long.

    Raises:
        ConfigError: a limit that is not positive, or an empty key.

    Examples:
        >>> mh.server.ServerSettings(deadline_seconds=5).max_texts
        512
    """

    api_key: str | None = None
    max_body_bytes: int = 4 << 20
    max_held_bytes: int = 64 << 20
    max_texts: int = 512
    max_characters: int = 200_000
    max_rows: int = 20_000
    max_tables: int = 8
    max_waiting: int = 256
    max_waiting_tokens: int = 1 << 18
    batch_tokens: int = 8192
    deadline_seconds: float = 60.0
    header_seconds: float = 10.0
    max_new_tokens: int = 1024
    max_sequences: int = 16
    max_generations: int = 16
    generation_seconds: float = 300.0
    body_seconds: float = 10.0
    drain_seconds: float = 9.0

    def __post_init__(self) -> None:
        if self.api_key is not None and not self.api_key.strip():
            raise ConfigError("api_key: is empty; give a key, or None to serve without one")
        for item in fields(self):
            value: Any = getattr(self, item.name)
            if item.name != "api_key" and not value > 0:
                raise ConfigError(f"{item.name}: must be above 0, got {value!r}")
