"""One of several processes that answer requests, seen from the one that started it; and its first steps."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from manyheads.errors import ManyheadsError
from manyheads.runtime.collecting import uncollected_imports
from manyheads.server.json_log import log_as_json
from manyheads.server.process.launch import Launch
from manyheads.server.process.link import Answerer, Link, refuse_first

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child:
    """A process that answers requests.

    It belongs to the event loop that is running.

    Args:
        launch: What it serves, and where.
        answers: Subject of a question of it -> what answers it.
    """

    def __init__(self, launch: Launch, answers: Mapping[str, Answerer]) -> None:
        # A new interpreter inherits no connection of another child, which would outlive this process with it.
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self._process: BaseProcess = context.Process(target=_begin, args=(launch, there), daemon=True)
        with _signals_wait():
            self._process.start()
        there.close()
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._end)
        self.link = Link(here, answers, closed=lambda: None)

    @property
    def exit_code(self) -> int | None:
        """Its exit status; ``None`` while it runs."""
        return self._process.exitcode

    def terminate(self) -> None:
        """Let it answer what is in flight and end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    async def ended(self) -> None:
        """Wait until it has ended."""
        await self._ended.wait()

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self.link.close()
        self._ended.set()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Hold signals back, also in a process that starts meanwhile, until it has chosen what they do."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(launch: Launch, connection: Connection) -> None:
    # A terminal sends these two to all processes; the one above decides for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    log_as_json()
    try:
        with uncollected_imports():
            from manyheads.server.process.worker import serve_beside

        serve_beside(launch, connection)
    except ManyheadsError as error:
        refuse_first(connection, error)
        sys.exit(os.EX_SOFTWARE)
