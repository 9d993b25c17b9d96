"""The counters of log shipping, the same in every process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

# queue: it was full. disk: the file could not be written. refused, unreachable: Loki, for good.
REASONS = ("queue", "disk", "refused", "unreachable")


class LogMetrics:
    """Every series exists from the start, at 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pushed = Counter("log_lines_pushed_total", "Log lines that Loki took", registry=registry)
        self.retries = Counter(
            "log_push_retries_total", "Pushes to Loki made a second time", registry=registry, unit="retries"
        )
        self._dropped = Counter(
            "log_lines_dropped_total",
            "Log lines that did not reach the file or did not reach Loki",
            ("reason",),
            registry=registry,
        )
        for reason in REASONS:
            self._dropped.labels(reason)

    def dropped(self, reason: str, lines: int) -> None:
        """`lines` were lost for `reason`."""
        self._dropped.labels(reason).inc(lines)
