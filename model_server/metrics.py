"""The model server's metrics. monitoring/schema/metrics.yaml describes names, types, labels, units; a test compares."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from app.shared.exposition import new_registry

ENDPOINTS = ("infer", "infer_stream")
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
REQUEST_BUCKETS = (
    *(0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1),
    *(0.15, 0.25, 0.5, 1.0, 2.5),
)
STEP_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 1.0),
)


class ServerMetrics:
    """One registry with every series born at 0, so that the first increase of a counter can be seen."""

    def __init__(self) -> None:
        self.registry = new_registry()
        of = ("endpoint",)
        self.requests = Counter(
            "model_server_requests_total",
            "Inference requests received, whatever became of them",
            of,
            unit="requests",
            registry=self.registry,
        )
        self.errors = Counter(
            "model_server_errors_total",
            "Inference requests that the server failed to answer",
            of,
            unit="errors",
            registry=self.registry,
        )
        self.duration = Histogram(
            "model_server_request_duration_seconds",
            "Time from an inference request's arrival to the end of its reply",
            of,
            unit="seconds",
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        for endpoint in ENDPOINTS:
            self.requests.labels(endpoint)
            self.errors.labels(endpoint)
            self.duration.labels(endpoint)
        self.batch_rows = Histogram(
            "model_server_batch_rows",
            "Rows that were computed together",
            unit="rows",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self.queue_duration = Histogram(
            "model_server_queue_duration_seconds",
            "Time from a request's arrival in the queue to the start of the first batch with rows of it",
            unit="seconds",
            buckets=STEP_BUCKETS,
            registry=self.registry,
        )
        self.compute_duration = Histogram(
            "model_server_compute_duration_seconds",
            "Time that one batch took to compute",
            unit="seconds",
            buckets=STEP_BUCKETS,
            registry=self.registry,
        )
        self.time_to_first_result = Histogram(
            "model_server_time_to_first_result_seconds",
            "Time from a streaming request's arrival to its first event",
            unit="seconds",
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "model_server_in_flight_requests",
            "Inference requests being answered",
            unit="requests",
            registry=self.registry,
        )
