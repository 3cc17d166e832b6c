"""Write metrics as Prometheus reads them, those of all workers in one answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder

_WORKER = "worker"


def of_workers(by_worker: Mapping[str, Iterable[Metric]]) -> list[Metric]:
    """Return the metrics of several processes as one list, each sample with the label ``worker``.

    Args:
        by_worker: Name of a worker -> its metrics.
    """
    families: dict[str, Metric] = {}
    for worker, metrics in by_worker.items():
        for metric in metrics:
            family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
            family.samples += [sample._replace(labels={**sample.labels, _WORKER: worker}) for sample in metric.samples]
    return list(families.values())


def exposition(metrics: list[Metric], accept: str) -> tuple[bytes, str]:
    """Return metrics as text, and its content type.

    Args:
        metrics: The metrics.
        accept: The request's header, which selects Prometheus' own format or OpenMetrics.
    """
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(metrics)), content_type


class _Collected:
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
