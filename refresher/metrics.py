"""The refresher's metrics. monitoring/schema/metrics.yaml describes names, types, labels, units; a test compares."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from app.shared.dependency import POSTGRES, REDIS
from app.shared.exposition import new_registry

# success: both stores were written. partial: PostgreSQL was, Redis was not. failure: PostgreSQL was not.
OUTCOMES = ("success", "partial", "failure")
DEPENDENCIES = (POSTGRES, REDIS)
BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class RefresherMetrics:
    """One registry with every series born at 0."""

    def __init__(self) -> None:
        self.registry = registry = new_registry()
        self.refreshes = Counter(
            "feature_refresh_total",
            "Refreshes of all features, by what became of them",
            ("outcome",),
            registry=registry,
        )
        for outcome in OUTCOMES:
            self.refreshes.labels(outcome)
        of = ("dependency",)
        self._errors = Counter(
            "feature_refresh_errors_total",
            "Calls of a refresh that failed for good",
            of,
            registry=registry,
            unit="errors",
        )
        self._retries = Counter(
            "feature_refresh_retries_total",
            "Calls of a refresh made a second time",
            of,
            registry=registry,
            unit="retries",
        )
        for name in DEPENDENCIES:
            self._errors.labels(name)
            self._retries.labels(name)
        self.duration = Histogram(
            "feature_refresh_duration_seconds",
            "Duration of a refresh, failed ones included",
            buckets=BUCKETS,
            registry=registry,
            unit="seconds",
        )
        self.last_success = Gauge(
            "feature_refresh_last_success_timestamp_seconds",
            "When both stores were last written, in seconds since 1970; 0 before the first time",
            registry=registry,
            unit="seconds",
        )

    def retried(self, dependency: str) -> None:
        """A call is made a second time."""
        self._retries.labels(dependency).inc()

    def failed(self, dependency: str) -> None:
        """A call failed for good."""
        self._errors.labels(dependency).inc()

    def took(self, system: str, operation: str, seconds: float) -> None:
        """What single calls take is not of interest here: a refresh is timed as a whole."""
