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
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    room = gpus or sum(cpus)
    if wanted is not None and not 1 <= wanted <= room:
        raise ConfigError(
            f"workers must be between 1 and the cluster's {room} {'GPUs' if gpus else 'cores'}, got {wanted}"
        )
    if gpus:
        count = wanted or gpus
        return Workers(count, max(1, min(_CPUS, sum(cpus) // count)), 1)
    if wanted is not None:
        return Workers(wanted, max(1, min(sum(cpus) // wanted, max(cpus))))
    each = min(_CPUS, max(cpus, default=1))
    return Workers(max(1, sum(own // each for own in cpus)), each)


def nodes_of(ray: Any) -> list[dict[str, float]]:
    """Return the resources of each machine of the cluster."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]
