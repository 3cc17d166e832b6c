"""How many workers a Ray cluster has room for, and what each of them gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from manyheads.errors import ConfigError, MissingExtraError

# Cores of a worker: with more, the threads of one forward pass wait for each other, and another worker is faster.
_CPUS = 4


@dataclass(frozen=True)
class Workers:
    """The workers of a run.

    Attributes:
        count: How many.
        cpus: Cores of each, which are the threads of its torch.
        gpus: GPUs of each.
    """

    count: int
    cpus: int
    gpus: int = 0

    @property
    def device(self) -> str | None:
        """The device of the model."""
        return "cuda" if self.gpus else None


def import_ray() -> Any:
    """Return the module ``ray``, connected to its cluster, or to one of this machine.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("Scoring on a Ray cluster needs Ray: pip install 'manyheads[ray]'") from None
    if not ray.is_initialized():
        ray.init()
    return ray


def workers_of(nodes: list[dict[str, float]], wanted: int | None) -> Workers:
    """Return the workers of a run: one per GPU, or where there are none, one per four cores.

    Args:
        nodes: The resources of each machine, by Ray's names.
        wanted: Number of workers; ``None`` for as many as there is room for.

    Raises:
        ConfigError: less than one worker, or more than there are cores or GPUs.
    """
    gpus = 1 if any(node.get("GPU") for node in nodes) else 0
    most = max([1, *(int(node.get("CPU", 0)) for node in nodes)])
    usual = min(_CPUS, most)
    room = _room(nodes, 1, gpus)
    if wanted is None:
        wanted = max(1, room if gpus else _room(nodes, usual, gpus))
    elif not 1 <= wanted <= room:
        raise ConfigError(
            f"workers must be between 1 and the cluster's {room} {'GPUs' if gpus else 'cores'}, got {wanted}"
        )
    # More than fit on the machines would wait for room until the end.
    fitting = (cpus for cpus in range(usual if gpus else most, 0, -1) if _room(nodes, cpus, gpus) >= wanted)
    return Workers(wanted, next(fitting, 1), gpus)


def _room(nodes: list[dict[str, float]], cpus: int, gpus: int) -> int:
    """Return how many workers with so many cores fit on the machines, with a GPU each if ``gpus``."""
    by_cores = [int(node.get("CPU", 0)) // cpus for node in nodes]
    by_gpus = [int(node.get("GPU", 0)) for node in nodes]
    return sum(map(min, by_cores, by_gpus)) if gpus else sum(by_cores)


def nodes_of(ray: Any) -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
