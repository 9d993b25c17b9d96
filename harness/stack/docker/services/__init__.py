"""The built-in services that are containers, by the name that `use` gives them. The sinks are processes of our own."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stack.docker.services import (
    alertmanager,
    loki,
    milvus,
    postgres,
    postgres_exporter,
    prometheus,
    redis,
    redis_exporter,
)
from harness.stack.docker.services.declared import Declared

DECLARED: Mapping[str, Declared] = {
    "postgres": postgres.DECLARED,
    "redis": redis.DECLARED,
    "milvus": milvus.DECLARED,
    "prometheus": prometheus.DECLARED,
    "alertmanager": alertmanager.DECLARED,
    "loki": loki.DECLARED,
    "postgres-exporter": postgres_exporter.DECLARED,
    "redis-exporter": redis_exporter.DECLARED,
}
