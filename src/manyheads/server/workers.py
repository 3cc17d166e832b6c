"""The processes that answer requests: what one of them can ask of all."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import Metric

from manyheads.errors import ManyheadsError, one_line
from manyheads.server.engine import Engine
from manyheads.server.metrics.metrics import Metrics
from manyheads.server.reload import Reload
from manyheads.server.served import Serving

_LOG = logging.getLogger("manyheads.server.reload")


class Workers(ABC):
    """All processes that answer requests."""

    @abstractmethod
    async def reload(self) -> Reload:
        """Load the saved model again in all of them; the first that cannot ends it."""

    @abstractmethod
    async def metrics(self) -> list[Metric]:
        """Return the metrics of all of them."""


class Alone(Workers):
    """This process.

    Args:
        serving: Its model.
        engine: What computes.
        counts: Its metrics.
    """

    def __init__(self, serving: Serving, engine: Engine, counts: Metrics) -> None:
        self._serving = serving
        self._engine = engine
        self._counts = counts

    async def reload(self) -> Reload:
        """Load the saved model again, beside the requests, which the old one answers meanwhile."""
        # The thread ends with the reload: one that has computed keeps threads of OpenMP, which slow down the others.
        loading = ThreadPoolExecutor(1, "manyheads-reload")
        try:
            outcome = await asyncio.get_running_loop().run_in_executor(loading, self._reload)
        finally:
            loading.shutdown(wait=False)  # waiting would block the event loop if the request is cancelled
        self._counts.reloads.labels("failed" if outcome.error_type else "loaded").inc()
        fields = {"fingerprint": outcome.fingerprint, "error_type": outcome.error_type, "reason": outcome.reason}
        if outcome.error_type:
            _LOG.error("the model was not reloaded; the old one goes on answering", extra={"fields": fields})
        else:
            _LOG.info("the model was reloaded", extra={"fields": fields})
        return outcome

    async def metrics(self) -> list[Metric]:
        """Return the metrics of this process."""
        return self._counts.collect()

    def _reload(self) -> Reload:
        try:
            return Reload(self._serving.reload(self._engine.turns.turn).fingerprint)
        except Exception as error:  # whatever a model's files cause: the old model must go on
            expected = isinstance(error, ManyheadsError)
            return Reload(self._serving.current.fingerprint, type(error).__name__, one_line(error, 500), expected)
