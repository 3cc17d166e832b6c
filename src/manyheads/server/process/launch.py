"""What a process needs to serve a model."""

from __future__ import annotations

from dataclasses import dataclass

from manyheads.server.process.address import Address
from manyheads.server.settings import ServerSettings


@dataclass(frozen=True)
class Launch:
    """What a process needs to serve a model. Sent to workers, so it is plain data.

    Attributes:
        model: Folder or hub id of a saved model.
        trust_remote_code: Whether Python code in it may run.
        address: Where to listen.
        settings: What the server allows.
        threads: Threads of torch; ``None`` for its own choice.
    """

    model: str
    trust_remote_code: bool
    address: Address
    settings: ServerSettings
    threads: int | None = None
