"""This process as one of several."""

from __future__ import annotations

from prometheus_client import Metric

from manyheads.server.process.link import Link
from manyheads.server.reload import Reload
from manyheads.server.workers import Workers


class Siblings(Workers):
    """This process and its siblings, by way of the process that started them.

    Args:
        link: To that process.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    async def reload(self) -> Reload:
        """Load the saved model again in one process after the other; the first that cannot ends it."""
        outcome: Reload = await self._link.ask("reload")
        return outcome

    async def metrics(self) -> list[Metric]:
        """Return the metrics of all, each sample with the label ``worker``."""
        metrics: list[Metric] = await self._link.ask("metrics")
        return metrics
