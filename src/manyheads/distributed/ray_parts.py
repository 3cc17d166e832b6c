"""The workers of a Ray cluster answer the parts of tables; this process reads the rows, and writes the answers."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from manyheads.distributed.ray_resources import Workers
from manyheads.distributed.worker import ModelSource, Worker, WorkerSettings
from manyheads.errors import ClusterError, ManyheadsError
from manyheads.scoring.engines import Answer, Engine, PartRows
from manyheads.scoring.manifest import Manifest
from manyheads.scoring.plan import Part
from manyheads.scoring.row_answers import AnswerSettings

# Parts per worker that are under way: one is answered, while the next has arrived.
_AHEAD = 2
# How often a part whose worker died is answered anew, by the worker that takes its place.
_RETRIES = 3


class RayWorkers(Engine):
    """Computes answers on the workers of a Ray cluster.

    Args:
        ray: The module.
        source: Where each worker finds the model.
        workers: How many there are, and what each gets.
    """

    def __init__(self, ray: Any, source: ModelSource, workers: Workers) -> None:
        self._ray = ray
        self._source = source
        self._workers = workers

    @property
    def threads(self) -> int:
        """The cores of a worker."""
        return self._workers.cpus

    @property
    def uses_gpu(self) -> bool:
        """Whether a worker has one."""
        return self._workers.gpus > 0

    @contextmanager
    def started(self, settings: AnswerSettings, manifest: Manifest) -> Iterator[Answer]:
        """Yield a function that answers parts; see ``Engine``."""
        own = WorkerSettings(self._source, json.dumps(manifest.model), settings)
        share = {"num_cpus": self._workers.cpus, "num_gpus": self._workers.gpus}
        remote = self._ray.remote(**share, max_restarts=-1, max_task_retries=_RETRIES)(Worker)
        actors = [
            remote.remote(own, self._workers.device, manifest.machine["threads"]) for _ in range(self._workers.count)
        ]
        try:
            yield lambda parts: _answered(self._ray, actors, parts)
        finally:
            for actor in actors:
                self._ray.kill(actor)


def _answered(ray: Any, actors: list[Any], parts: PartRows) -> PartRows:
    """Yield parts with their answers, in order; so many are under way that no worker waits for another's."""
    waiting: deque[tuple[Part, Any]] = deque()
    running: list[list[Any]] = [[] for _ in actors]
    for part, rows in parts:
        waiting.append((part, _submitted(ray, actors, running, rows)))
        if len(waiting) > _AHEAD * len(actors):
            yield _first(ray, waiting)
    while waiting:
        yield _first(ray, waiting)


def _submitted(ray: Any, actors: list[Any], running: list[list[Any]], rows: pa.Table) -> Any:
    """Give rows to the worker that has the least to do, and return Ray's reference to its answer."""
    for place, own in enumerate(running):
        running[place] = ray.wait(own, num_returns=len(own), timeout=0)[1] if own else []
    place = min(range(len(actors)), key=lambda actor: len(running[actor]))
    reference = actors[place].answer.remote(rows)
    running[place].append(reference)
    return reference


def _first(ray: Any, waiting: deque[tuple[Part, Any]]) -> tuple[Part, pa.Table]:
    part, reference = waiting.popleft()
    with worker_errors(ray):
        return part, ray.get(reference)


@contextmanager
def worker_errors(ray: Any) -> Iterator[None]:
    """Raise what went wrong in a worker as an error of this package."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ManyheadsError):
            raise cause from None
        last = str(error).strip().splitlines()[-1].strip()
        raise ClusterError(f"A worker of the Ray cluster failed: {last}; its log has more") from error
