"""Stop a process: first everything in flight is answered, for a limited time."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading

_LOG = logging.getLogger("manyheads.server")


class Stopping:
    """Whether a process shall stop, and the end of it if what is in flight takes too long.

    It belongs to the event loop that is running.

    Args:
        seconds: How long to wait for what is in flight.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = asyncio.Event()

    def begin(self) -> None:
        """Stop, and end the process once the time is over."""
        if self._begun.is_set():
            return
        self._begun.set()
        # A thread, since the event loop may be what takes too long.
        limit = threading.Timer(self._seconds, self._end)
        limit.daemon = True
        limit.start()

    async def begun(self) -> None:
        """Wait until the process shall stop."""
        await self._begun.wait()

    def on_signals(self, *numbers: signal.Signals) -> None:
        """Stop when one of these signals arrives."""
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, self.begin)

    def _end(self) -> None:
        fields = {"seconds": self._seconds}
        _LOG.warning("some requests had no answer when the time to stop was over", extra={"fields": fields})
        os._exit(0)
