"""Spans by OTLP/HTTP, sent in batches by a thread of their own; a collector that is gone disturbs no request."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, MutableMapping

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

EXPORT_PERIOD = 5.0  # seconds, divided by the time scale
EXPORT_TIMEOUT = 1.0  # seconds, for one batch
QUEUE_SIZE = 8_192  # spans; the oldest go first when it is full
BATCH_SIZE = 512
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """The tracer of one process. Without an endpoint spans get valid ids, and go nowhere."""

    def __init__(self, endpoint: str | None, time_scale: float, *, service: str) -> None:
        """`endpoint` URL of /v1/traces; `service` the resource's service.name."""
        # What the exporter has to say about a dead collector, it says once a batch: that is no news after the first.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        resource = Resource.create({"service.name": service, "service.namespace": "app"})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        if endpoint is not None:
            session = requests.Session()
            session.trust_env = False  # no proxy from the environment between us and the collector
            exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT, session=session)
            self._provider.add_span_processor(
                BatchSpanProcessor(
                    exporter,
                    max_queue_size=QUEUE_SIZE,
                    max_export_batch_size=BATCH_SIZE,
                    schedule_delay_millis=max(100.0, EXPORT_PERIOD * 1_000 / time_scale),
                )
            )
        self.tracer: Tracer = self._provider.get_tracer(service)

    def close(self, timeout: float) -> None:
        """Send what is queued, but wait no longer than `timeout` seconds for a collector that does not answer."""
        stop = threading.Thread(target=self._provider.shutdown, daemon=True)
        stop.start()
        stop.join(timeout)


def parent_of(headers: Mapping[str, str]) -> Context:
    """The caller's trace, from its `traceparent` and `tracestate`; an empty context when there is none."""
    return _PROPAGATOR.extract(headers, context=Context())


def write_parent(headers: MutableMapping[str, str]) -> None:
    """Put the current span into outgoing `headers` as `traceparent` (and `tracestate` where there is one)."""
    _PROPAGATOR.inject(headers)
