"""The built-in services by the name that `use` gives them in stack.yaml."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.services import (
    alertmanager,
    loki,
    milvus,
    otlp_sink,
    postgres,
    postgres_exporter,
    prometheus,
    redis,
    redis_exporter,
    webhook_sink,
)
from harness.stack.services.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {
    "postgres": postgres.RECIPE,
    "redis": redis.RECIPE,
    "milvus": milvus.RECIPE,
    "prometheus": prometheus.RECIPE,
    "alertmanager": alertmanager.RECIPE,
    "loki": loki.RECIPE,
    "postgres-exporter": postgres_exporter.RECIPE,
    "redis-exporter": redis_exporter.RECIPE,
    "otlp-sink": otlp_sink.RECIPE,
    "webhook-sink": webhook_sink.RECIPE,
}
