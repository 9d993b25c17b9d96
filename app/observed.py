"""The four observed routes: what each counts, and what its spans and log lines say."""

from __future__ import annotations

from app.config import COLLECTION
from app.embedding import DIMENSIONS, MODEL_VERSION
from app.metrics import Metrics
from app.observe import Observed
from app.shared.digits import Digits
from app.shared.logs import LogWriter, make_logger

SEARCH = "/search"
PREDICT = "/predict"
FEEDBACK = "/feedback"
FEATURES = "/features/{entity_id}"


def observed_routes(metrics: Metrics, writer: LogWriter, digits: Digits) -> list[Observed]:
    """One for each of the paths above."""
    model = {"ai.model.name": digits.model_name, "ai.model.version": digits.model_version}
    return [
        Observed(
            method="POST",
            path=SEARCH,
            workflow="vector_search",
            event="search",
            logger=make_logger(writer, "vector_search"),
            latency=metrics.search_latency,
            fields={
                "operation": "vector_search",
                "query_type": "semantic",
                "collection": COLLECTION,
                "top_k": None,
                "results_count": 0,
                "embedding_dim": DIMENSIONS,
                "model_version": MODEL_VERSION,
            },
            attributes={"ai.embedding.model": MODEL_VERSION},
            arrived=(metrics.search_requests.inc, metrics.search_rate.mark),
            failed=metrics.search_errors.inc,
        ),
        Observed(
            method="POST",
            path=PREDICT,
            workflow="inference",
            event="predict",
            logger=make_logger(writer, "model_inference"),
            latency=metrics.inference_latency,
            fields={
                "operation": "model_inference",
                "model_name": digits.model_name,
                "model_version": digits.model_version,
                "entity_id": None,
                "feature_source": None,
                "prediction": None,
                "probability": None,
                "prediction_id": None,
            },
            attributes=model,
            arrived=(metrics.inference_requests.inc,),
            failed=metrics.inference_errors.inc,
        ),
        Observed(
            method="POST",
            path=FEEDBACK,
            workflow="feedback",
            event="feedback",
            logger=make_logger(writer, "feedback"),
            latency=metrics.feedback_latency,
            fields={
                "operation": "feedback",
                "prediction_id": None,
                "label": None,
                "outcome": "invalid",
                "drift_detected": False,
            },
            attributes=model,
            arrived=(),
            failed=None,
            ended=lambda seen: metrics.feedback.labels(seen.outcome).inc(),  # so their sum is the number of requests
        ),
        Observed(
            method="GET",
            path=FEATURES,
            workflow="features",
            event="features",
            logger=make_logger(writer, "feature_store"),
            latency=metrics.feature_latency,
            fields={"operation": "feature_store", "entity_id": None, "source": None, "age_seconds": None},
            attributes={},
            arrived=(metrics.feature_requests.inc,),
            failed=metrics.feature_errors.inc,
        ),
    ]
