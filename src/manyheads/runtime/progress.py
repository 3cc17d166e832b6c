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
# Seconds after which a step has lines in the log.
_LONG = 2.0


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
    if is_first():
        logger.info(message)


@contextmanager
def _logged(message: str) -> Iterator[None]:
    """Write a line when a step has run for two seconds, and one when it ends; none for a short step."""
    if not logger.isEnabledFor(logging.INFO):  # no thread for a timer whose line nobody reads
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
