"""The built-in services by the name that `use` gives them in stack.yaml."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.services import milvus, otlp_sink, postgres, prometheus, redis
from harness.stack.services.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {
    "postgres": postgres.RECIPE,
    "redis": redis.RECIPE,
    "milvus": milvus.RECIPE,
    "prometheus": prometheus.RECIPE,
    "otlp-sink": otlp_sink.RECIPE,
}
