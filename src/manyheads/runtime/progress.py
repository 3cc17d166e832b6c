"""Progress bars on the long parts: on standard error, only in a terminal, gone when done, and one process's alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manyheads.runtime.processes import is_first

Advance = Callable[[int], None]


@contextmanager
def progress_bar(description: str, total: int, unit: str) -> Iterator[Advance]:
    """Show how far a long part is.

    Args:
        description: What is being done.
        total: How much there is to do.
        unit: Of what.

    Yields:
        A function that takes how much was done since the last call.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not (console.is_terminal and is_first())
    ) as progress:
        task = progress.add_task(description, total=total)
        yield lambda done: progress.advance(task, done)
