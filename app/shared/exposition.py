"""A process's metrics registry, and its exposition in the format that the scraper asks for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

_UNITS = ("seconds", "bytes", "fds")


def new_registry() -> CollectorRegistry:
    """An empty registry but for what the operating system knows of the process; no metric gets a `_created` series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    registry.register(_ProcessMetrics(registry=None))
    return registry


def exposition(registry: CollectorRegistry, accept: str | None) -> tuple[bytes, str]:
    """What to answer a scraper: the body and its content type.

    OpenMetrics where the Accept header names it, so that units reach Prometheus; else Prometheus' text format 0.0.4.
    """
    encode, content_type = choose_encoder(accept or "")
    return encode(registry), content_type


class _ProcessMetrics(ProcessCollector):
    """The library's own, with the units that it leaves out."""

    def collect(self) -> Iterable[Metric]:
        """The process's memory, time and files."""
        for family in super().collect():
            family.unit = next((unit for unit in _UNITS if family.name.endswith(f"_{unit}")), "")
            yield family
