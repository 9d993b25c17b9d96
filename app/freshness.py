"""How old the features are: PostgreSQL is asked for the time of their last update, the age is computed when scraped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.shared.dependency import POSTGRES, Caller, DependencyError
from app.shared.feature_store import FEATURES_TABLE
from app.shared.postgres import Connections

PERIOD = 5.0  # seconds between two questions, divided by the time scale
DEADLINE = 1.0  # seconds
_SELECT = f"SELECT feature_name, max(updated_at) FROM {FEATURES_TABLE} GROUP BY feature_name"


class FreshnessCollector(Collector):
    """The two gauges. Before the first `update` they have no samples: no age is better than a wrong one.

    An age that is set by whoever updates the features would stand still with him; this one grows by itself.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since 1970."""
        self._clock = clock
        self._updated: Mapping[str, float] = {}

    def update(self, updated: Mapping[str, datetime]) -> None:
        """The time of the last update by feature."""
        self._updated = {name: at.timestamp() for name, at in updated.items()}

    def collect(self) -> Iterable[Metric]:
        """Age and time of the last update, by feature."""
        labels = ("feature_name",)
        age = GaugeMetricFamily(
            "feature_store_freshness_seconds", "Time since last feature update", labels=labels, unit="seconds"
        )
        last = GaugeMetricFamily(
            "feature_store_last_update_timestamp_seconds",
            "When the feature was last updated, in seconds since 1970",
            labels=labels,
            unit="seconds",
        )
        for name, at in self._updated.items():
            age.add_metric((name,), self._clock() - at)
            last.add_metric((name,), at)
        return age, last


async def watch(connections: Connections, call: Caller, gauges: FreshnessCollector, time_scale: float) -> None:
    """Ask for ever. A failure leaves the old times, so that the age goes on growing."""
    while True:
        try:
            rows = await call(
                POSTGRES,
                "select",
                lambda: connections.query(_SELECT),
                deadline=DEADLINE,
                attributes={"db.collection.name": FEATURES_TABLE},
            )
        except DependencyError:
            pass  # counted by the caller, and it shows in the age
        else:
            gauges.update({name: updated_at for name, updated_at in rows if updated_at is not None})
        await asyncio.sleep(PERIOD / time_scale)
