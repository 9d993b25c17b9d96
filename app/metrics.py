"""The app's metrics. monitoring/schema/metrics.yaml describes names, types, labels and units; a test compares."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.config import COLLECTION
from app.shared.exposition import new_registry

DEPENDENCIES = ("milvus", "postgres")
# Dense where objectives are set: 0.05, 0.1, 0.15, 0.25, 0.4 and 0.5 are edges, so that a quantile there is exact.
LATENCY_BUCKETS = (
    *(0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25),
    *(0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5),
)
RATE_WINDOW = 60.0  # seconds, divided by the time scale


class Metrics:
    """One registry with every series born at 0, so that the first increase of a counter can be seen."""

    def __init__(self, time_scale: float = 1.0) -> None:
        self.registry = new_registry()
        labels = ("collection_name",)
        self.search_requests = Counter(
            "vector_search_requests_total", "Searches received, whatever became of them", labels, registry=self.registry
        ).labels(COLLECTION)
        self.search_errors = Counter(
            "vector_search_errors_total", "Searches that the service failed to answer", labels, registry=self.registry
        ).labels(COLLECTION)
        self.search_latency = Histogram(
            "vector_search_latency_seconds",
            "Time from a search's arrival to the end of its reply",
            labels,
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        ).labels(COLLECTION)
        self.in_flight = Gauge("app_in_flight_requests", "Searches being answered", registry=self.registry)
        of = ("dependency",)
        self.dependency_retries = Counter(
            "app_dependency_retries_total", "Calls made a second time", of, registry=self.registry
        )
        self.dependency_errors = Counter(
            "app_dependency_errors_total", "Calls that failed for good", of, registry=self.registry
        )
        for name in DEPENDENCIES:
            self.dependency_retries.labels(name)
            self.dependency_errors.labels(name)
        self.search_rate = RollingRate(RATE_WINDOW / time_scale)
        self.registry.register(_RateCollector(self.search_rate))


class RollingRate:
    """Events a second over the last `window` seconds, in 30 slots; `clock` is monotonic seconds."""

    _SLOTS = 30

    def __init__(self, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._window = window
        self._width = window / self._SLOTS
        self._counts: deque[tuple[int, int]] = deque()  # (slot, events)

    def mark(self) -> None:
        """One event, now."""
        slot = int(self._clock() / self._width)
        if self._counts and self._counts[-1][0] == slot:
            self._counts[-1] = (slot, self._counts[-1][1] + 1)
        else:
            self._counts.append((slot, 1))
            self._forget(slot)

    def value(self) -> float:
        """The rate over the window that ends now."""
        self._forget(int(self._clock() / self._width))
        return sum(events for _, events in self._counts) / self._window

    def _forget(self, slot: int) -> None:
        while self._counts and self._counts[0][0] <= slot - self._SLOTS:
            self._counts.popleft()


class _RateCollector(Collector):
    """Computes the rate when it is scraped: a gauge that is set by traffic would freeze when traffic stops."""

    def __init__(self, rate: RollingRate) -> None:
        self._rate = rate

    def collect(self) -> Iterable[Metric]:
        family = GaugeMetricFamily(
            "vector_search_queries_per_second", "Vector search queries per second", labels=("collection_name",)
        )
        family.add_metric((COLLECTION,), self._rate.value())
        yield family
