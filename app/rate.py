"""Events a second over a window that ends now."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.config import COLLECTION


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


class RateCollector(Collector):
    """Computes the rate when it is scraped: a gauge that is set by traffic would freeze when traffic stops."""

    def __init__(self, rate: RollingRate) -> None:
        self._rate = rate

    def collect(self) -> Iterable[Metric]:
        """One gauge."""
        family = GaugeMetricFamily(
            "vector_search_queries_per_second",
            "Vector search queries per second",
            labels=("collection_name",),
            unit="queries_per_second",
        )
        family.add_metric((COLLECTION,), self._rate.value())
        yield family
