"""Questions and answers between two processes of a server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

Answerer = Callable[[], Awaitable[Any]]


class LinkClosedError(Exception):
    """The other process has ended."""


class Link:
    """One end of a connection: asks the other end, and answers its questions.

    It belongs to the event loop that is running.

    Args:
        connection: The connection.
        answers: Subject of a question -> what answers it.
        closed: Called when the other process has ended.
    """

    def __init__(self, connection: Connection, answers: Mapping[str, Answerer], closed: Callable[[], None]) -> None:
        self._connection = connection
        self._answers = answers
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._loop.add_reader(connection.fileno(), self._read)

    async def ask(self, subject: str) -> Any:
        """Ask the other process, and return its answer.

        Raises:
            LinkClosedError: it has ended.
            Exception: what its answerer raised.
        """
        number = next(self._numbers)
        answer = self._asked[number] = self._loop.create_future()
        try:
            self._send("question", number, subject)
            return await answer
        finally:
            self._asked.pop(number, None)

    def close(self) -> None:
        """Close this end."""
        if self._connection.closed:
            return
        self._loop.remove_reader(self._connection.fileno())
        self._connection.close()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(LinkClosedError("the process has ended"))

    def _read(self) -> None:
        try:
            while not self._connection.closed and self._connection.poll():
                self._take(*self._connection.recv())
        except (EOFError, OSError):
            self.close()
            self._closed()

    def _take(self, kind: str, number: int, content: Any) -> None:
        if kind == "question":
            task = self._loop.create_task(self._reply(number, content))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (answer := self._asked.get(number)) is not None and not answer.done():
            if isinstance(content, Exception):
                answer.set_exception(content)
            else:
                answer.set_result(content)

    async def _reply(self, number: int, subject: str) -> None:
        try:
            content = await self._answers[subject]()
        except Exception as error:
            content = error
        try:
            self._send("answer", number, content)
        except LinkClosedError:
            return

    def _send(self, *message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError:
            raise LinkClosedError("the process has ended") from None


def refuse_first(connection: Connection, error: Exception) -> None:
    """Answer the first question, of a process that cannot begin, with an error."""
    try:
        _, number, _ = connection.recv()
        connection.send(("answer", number, error))
    except (EOFError, OSError):
        return
