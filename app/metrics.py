"""The app's metrics. monitoring/schema/metrics.yaml describes names, types, labels and units; a test compares."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from app.config import COLLECTION
from app.freshness import FreshnessCollector
from app.rate import RateCollector, RollingRate
from app.shared.dependency import MILVUS, MODEL_SERVER, POSTGRES, REDIS
from app.shared.exposition import new_registry

DEPENDENCIES = (MILVUS, POSTGRES, REDIS, MODEL_SERVER)
# (db_system_name, db_operation_name) of all that is asked of a database.
OPERATIONS = (("milvus", "search"), ("postgresql", "select"), ("redis", "hgetall"), ("redis", "hset"))
OUTCOMES = ("accepted", "duplicate", "unknown", "invalid")
# Dense where objectives are set: their bounds are edges, so that a quantile there is exact.
SEARCH_BUCKETS = (
    *(0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25),
    *(0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5),
)
INFERENCE_BUCKETS = (*SEARCH_BUCKETS, 5.0, 10.0)
QUICK_BUCKETS = (0.001, 0.002, 0.003, *SEARCH_BUCKETS)
OPERATION_BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
RATE_WINDOW = 60.0  # seconds, divided by the time scale


class Metrics:
    """One registry with every series born at 0, so that the first increase of a counter can be seen.

    Not there from the start are the ages of features, until PostgreSQL was asked, and the model's scores, until there
    are labels: they have no true value before.
    """

    def __init__(self, model_name: str, model_version: str, time_scale: float = 1.0) -> None:
        self.registry = registry = new_registry()
        self._model = (model_name, model_version)
        self._search()
        self._inference()
        self._features()
        self._feedback()
        self.in_flight = Gauge("app_in_flight_requests", "Requests being answered", registry=registry, unit="requests")
        self._dependencies()
        self.search_rate = RollingRate(RATE_WINDOW / time_scale)
        registry.register(RateCollector(self.search_rate))
        self.freshness = FreshnessCollector()
        registry.register(self.freshness)

    def retried(self, dependency: str) -> None:
        """A call is made a second time."""
        self._retries.labels(dependency).inc()

    def failed(self, dependency: str) -> None:
        """A call failed for good."""
        self._failures.labels(dependency).inc()

    def took(self, system: str, operation: str, seconds: float) -> None:
        """One attempt at an operation of a database ended, in whichever way."""
        self._operations.labels(system, operation).observe(seconds)

    def score(self, name: str, value: float) -> None:
        """Set the model's `name`: accuracy, precision, recall or f1_score."""
        self._scores[name].labels(*self._model).set(value)

    def _search(self) -> None:
        labels, registry = ("collection_name",), self.registry
        self.search_requests = Counter(
            "vector_search_requests_total",
            "Searches received, whatever became of them",
            labels,
            registry=registry,
            unit="requests",
        ).labels(COLLECTION)
        self.search_errors = Counter(
            "vector_search_errors_total",
            "Searches that the service failed to answer",
            labels,
            registry=registry,
            unit="errors",
        ).labels(COLLECTION)
        self.search_latency = Histogram(
            "vector_search_latency_seconds",
            "Time from a search's arrival to the end of its reply",
            labels,
            buckets=SEARCH_BUCKETS,
            registry=registry,
            unit="seconds",
        ).labels(COLLECTION)

    def _inference(self) -> None:
        labels, registry = ("model_name", "version"), self.registry
        self.inference_requests = Counter(
            "model_inference_requests_total",
            "Total number of model inference requests",
            labels,
            registry=registry,
            unit="requests",
        ).labels(*self._model)
        self.inference_errors = Counter(
            "model_inference_errors_total",
            "Model inference requests that the service failed to answer",
            labels,
            registry=registry,
            unit="errors",
        ).labels(*self._model)
        self.inference_latency = Histogram(
            "model_inference_latency_seconds",
            "Model inference latency",
            labels,
            buckets=INFERENCE_BUCKETS,
            registry=registry,
            unit="seconds",
        ).labels(*self._model)
        self._scores = {
            name: Gauge(
                f"model_{name}", f"{words} of the last labelled predictions", ("model_id", "version"), registry=registry
            )
            for name, words in {
                "accuracy": "Share of right ones",
                "precision": "Macro-averaged precision",
                "recall": "Macro-averaged recall",
                "f1_score": "Macro-averaged F1 score",
            }.items()
        }
        self.drift_detected = Counter(
            "model_drift_detected_total",
            "Declines of the model's accuracy that were detected",
            ("model_id",),
            registry=registry,
        ).labels(self._model[0])

    def _features(self) -> None:
        registry = self.registry
        self.feature_requests = Counter(
            "feature_store_requests_total",
            "Requests for an entity's features, whatever became of them",
            registry=registry,
            unit="requests",
        )
        self.feature_errors = Counter(
            "feature_store_errors_total",
            "Requests for an entity's features that the service failed to answer",
            registry=registry,
            unit="errors",
        )
        self.feature_latency = Histogram(
            "feature_store_latency_seconds",
            "Time from a request for features to the end of its reply",
            buckets=QUICK_BUCKETS,
            registry=registry,
            unit="seconds",
        )
        self.feature_reads = Counter(
            "feature_store_reads_total",
            "Reads of an entity's features, also for predictions, by where they were found",
            ("source",),
            registry=registry,
            unit="reads",
        )
        for source in (REDIS, POSTGRES):
            self.feature_reads.labels(source)

    def _feedback(self) -> None:
        self.feedback = Counter(
            "model_feedback_total", "Labels received, by what became of them", ("outcome",), registry=self.registry
        )
        for outcome in OUTCOMES:
            self.feedback.labels(outcome)
        self.feedback_latency = Histogram(
            "model_feedback_latency_seconds",
            "Time from a label's arrival to the end of its reply",
            buckets=QUICK_BUCKETS,
            registry=self.registry,
            unit="seconds",
        )

    def _dependencies(self) -> None:
        of, registry = ("dependency",), self.registry
        self._retries = Counter(
            "app_dependency_retries_total", "Calls made a second time", of, registry=registry, unit="retries"
        )
        self._failures = Counter(
            "app_dependency_errors_total", "Calls that failed for good", of, registry=registry, unit="errors"
        )
        for name in DEPENDENCIES:
            self._retries.labels(name)
            self._failures.labels(name)
        self._operations = Histogram(
            "db_client_operation_duration_seconds",
            "Duration of database client operations, failed ones included",
            ("db_system_name", "db_operation_name"),
            buckets=OPERATION_BUCKETS,
            registry=registry,
            unit="seconds",
        )
        for operation in OPERATIONS:
            self._operations.labels(*operation)
