"""What a server counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily

from manyheads._version import VERSION
from manyheads.server.http.facts import RequestFacts
from manyheads.server.served import Served

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
# Types of errors of requests that a loaded server does not answer, and why.
_UNANSWERED = {"overloaded": "rejected", "timeout": "deadline", "client_gone": "client_gone"}


class Metrics:
    """What one process of a server counts, in a registry of its own.

    Attributes:
        generated_tokens: Tokens that the language model generated.
        model_seconds: Seconds in which the model computed.
        batch_rows: Texts of each batch.
        reloads: Reloads by ``result``.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = self._counter("requests", "Requests by route and status.", ["route", "status"])
        self._seconds = self._histogram("request_seconds", "Seconds until the response ended.", _SECONDS, ["route"])
        self._unanswered = self._counter("requests_unanswered", "Requests without an answer, by reason.", ["reason"])
        for reason in _UNANSWERED.values():  # a counter that appears with its first event hides it from rate()
            self._unanswered.labels(reason)
        self._rows = self._counter("rows", "Texts that heads answered, and texts with an error.", ["result"])
        for result in ("answered", "failed"):
            self._rows.labels(result)
        self.batch_rows = self._histogram("batch_rows", "Texts of each batch that the model computed.", _ROWS, [])
        self.model_seconds = self._counter("model_seconds", "Seconds in which the model computed.", [])
        self.generated_tokens = self._counter("generated_tokens", "Tokens that the language model generated.", [])
        self.reloads = self._counter("reloads", "Reloads of the model, by result.", ["result"])
        for result in ("loaded", "failed"):
            self.reloads.labels(result)

    def request(self, route: str, status: int, facts: RequestFacts, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)
        if facts.error_type in _UNANSWERED:
            self._unanswered.labels(_UNANSWERED[facts.error_type]).inc()
        self._rows.labels("answered").inc(facts.rows - facts.failed_rows)
        self._rows.labels("failed").inc(facts.failed_rows)

    def watch_queue(self, requests: Callable[[], int], tokens: Callable[[], int]) -> None:
        """Show how much waits whenever the metrics are read."""
        self._gauge("queue_requests", "Requests that wait for the model.").set_function(requests)
        self._gauge("queue_tokens", "About how many tokens wait for the model.").set_function(tokens)

    def watch_generations(self, requests: Callable[[], int]) -> None:
        """Show how many generations wait whenever the metrics are read."""
        self._gauge("queue_generations", "Requests that wait for a generation.").set_function(requests)

    def watch_model(self, current: Callable[[], Served]) -> None:
        """Show which model answers whenever the metrics are read."""
        self._registry.register(_ModelInfo(current))

    def collect(self) -> list[Metric]:
        """Return all counts, without the times at which each began: they double the answer, and nothing reads them."""
        metrics = list(self._registry.collect())
        for metric in metrics:
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
        return metrics

    def _counter(self, name: str, purpose: str, labels: list[str]) -> Any:
        return Counter(f"manyheads_{name}", purpose, labels, registry=self._registry)

    def _gauge(self, name: str, purpose: str) -> Any:
        return Gauge(f"manyheads_{name}", purpose, registry=self._registry)

    def _histogram(self, name: str, purpose: str, buckets: Iterable[float], labels: list[str]) -> Any:
        return Histogram(f"manyheads_{name}", purpose, labels, buckets=buckets, registry=self._registry)


class _ModelInfo:
    """The fingerprint of the model that answers, and the version of this package, as labels of the number 1."""

    def __init__(self, current: Callable[[], Served]) -> None:
        self._current = current

    def collect(self) -> Iterable[Metric]:
        served = self._current()
        info = GaugeMetricFamily("manyheads_model", "The model that answers.", labels=["fingerprint", "version"])
        info.add_metric([served.fingerprint, VERSION], 1)
        yield info
        since = GaugeMetricFamily("manyheads_model_loaded_seconds", "When the model was loaded, since the epoch.")
        since.add_metric([], served.since)
        yield since
