"""Progress of long work: on standard error, only in a terminal, only from the first process, erased at the end.

Displays may be nested: an inner one is a further line of the outer one. Elsewhere, every step above two seconds and
every epoch has a line in the log ``manyheads.progress``, which the command line prints and Python shows if asked to
(``logging.basicConfig``).
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from manyheads.runtime.processes import is_first

if TYPE_CHECKING:
    from rich.progress import Progress

Advance = Callable[[int], None]

_running: list[Progress] = []
# Blocks of ``quietly`` that are open.
_quiet: list[object] = []

logger = logging.getLogger("manyheads.progress")
# Seconds after which a step has lines in the log, and between the lines of one with a rate.
_LONG = 2.0
_LOGGED_EVERY = 30.0


@contextmanager
def progress_bar(description: str, total: int, unit: str) -> Iterator[Advance]:
    """Show a bar, a count and the time left for work of a known size.

    Args:
        description: The work, such as ``"Tokenizing"``.
        total: Its size, in units.
        unit: The unit's name, in the plural.

    Yields:
        A function to call with the number of units done since its last call.
    """
    with _display() as progress:
        if progress is None:
            with _logged(f"{description}: {total:,} {unit}"):
                yield lambda done: None
            return
        task = progress.add_task(description, total=total, count=f"0 of {total:,} {unit}")
        completed = 0

        def advance(done: int) -> None:
            nonlocal completed
            completed += done
            progress.update(task, completed=completed, count=f"{completed:,} of {total:,} {unit}")

        try:
            yield advance
        finally:
            progress.remove_task(task)


@contextmanager
def rate_bar(description: str, total: int, unit: str, before: int = 0) -> Iterator[Advance]:
    """Show a bar, a count, the rate and the time left of work that takes minutes to days.

    Without a terminal, the log has a line every half minute, and the steps of the work have none.

    Args:
        description: The work, such as ``"Scoring"``.
        total: Its size, in units.
        unit: The unit's name, in the plural.
        before: The units that were done before now.

    Yields:
        A function to call with the number of units done since its last call.
    """
    rate = _Rate(total, unit, before)
    with _display() as progress:
        if progress is None:
            with quietly():
                yield lambda done: _log_rate(description, rate, done)
            return
        task = progress.add_task(description, total=total, completed=before, count=str(rate))

        def advance(done: int) -> None:
            rate.add(done)
            progress.update(task, completed=rate.done, count=str(rate))

        try:
            yield advance
        finally:
            progress.remove_task(task)


class _Rate:
    """Units done, and how many a second."""

    def __init__(self, total: int, unit: str, before: int) -> None:
        self.total, self.unit, self.done = total, unit, before
        self.logged = time.monotonic()
        self._before, self._started = before, time.monotonic()

    def add(self, done: int) -> None:
        self.done += done

    @property
    def per_second(self) -> float:
        return (self.done - self._before) / max(time.monotonic() - self._started, 1e-9)

    @property
    def minutes_left(self) -> float:
        return (self.total - self.done) / max(self.per_second, 1e-9) / 60

    def __str__(self) -> str:
        count = f"{self.done:,} of {self.total:,} {self.unit}"
        return f"{count}, {self.per_second:,.0f}/s" if self.done > self._before else count


def _log_rate(description: str, rate: _Rate, done: int) -> None:
    rate.add(done)
    now = time.monotonic()
    if now - rate.logged >= _LOGGED_EVERY and is_first():
        rate.logged = now
        logger.info(f"{description}: {rate}, about {rate.minutes_left:,.0f} min left")


@contextmanager
def quietly() -> Iterator[None]:
    """Show nothing meanwhile: for short steps of long work that is not ours to show, such as a stream."""
    token = object()
    _quiet.append(token)
    try:
        yield
    finally:
        _quiet.remove(token)


@contextmanager
def spinner(description: str) -> Iterator[None]:
    """Show that work of unknown size is running, such as ``"Hashing weights"``."""
    with _display() as progress:
        if progress is None:
            with _logged(description):
                yield
            return
        task = progress.add_task(description, total=None, count="")
        try:
            yield
        finally:
            progress.remove_task(task)


def log_step(message: str) -> None:
    """Write a line about a step that has no display, such as an epoch, to the log."""
    if is_first() and not _quiet:
        logger.info(message)


@contextmanager
def _logged(message: str) -> Iterator[None]:
    """Write a line when a step has run for two seconds, and one when it ends; none for a short step."""
    if _quiet or not logger.isEnabledFor(logging.INFO):  # no thread for a timer whose line nobody reads
        yield
        return
    started, timer = time.monotonic(), threading.Timer(_LONG, log_step, [f"{message} ..."])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    seconds = time.monotonic() - started
    if seconds >= _LONG:
        log_step(f"{message}: done in {seconds:.0f} s")


@contextmanager
def _display() -> Iterator[Progress | None]:
    """Yield the display that is running, or a new one; ``None`` where nothing is shown."""
    if _quiet or not (is_first() and sys.stderr.isatty()):
        yield None
        return
    if _running:
        yield _running[-1]
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        _running.append(progress)
        try:
            yield progress
        finally:
            _running.remove(progress)
