"""One refresh: read the pixels of all entities, compute their features, write both stores; and that again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from opentelemetry.trace import StatusCode
from redis.asyncio import Redis
from structlog.typing import FilteringBoundLogger

from app.shared.dependency import POSTGRES, REDIS, Caller, DependencyError
from app.shared.feature_store import ENTITIES_TABLE, FEATURES_TABLE, TTL, Feature, encode, key, redis_errors
from app.shared.features import Matrix, profile
from app.shared.postgres import Connections
from refresher.metrics import RefresherMetrics
from refresher.tables import read_pixels, write_features

PERIOD = 60.0  # seconds from one refresh to the next, divided by the time scale
POSTGRES_DEADLINE = 2.0  # seconds for each of the two statements, retry included
REDIS_DEADLINE = 2.0  # seconds for all entities, retry included
PIPELINE = 200  # entities in one pipeline to Redis


class Refresher:
    """Make it inside the event loop that uses it.

    `problems` is what was wrong with the last refresh, by dependency; empty where nothing was.
    """

    def __init__(
        self,
        connections: Connections,
        redis: Redis,
        call: Caller,
        metrics: RefresherMetrics,
        logger: FilteringBoundLogger,
        time_scale: float,
    ) -> None:
        """`time_scale` divides the period and the time that Redis keeps a feature."""
        self._connections = connections
        self._redis = redis
        self._call = call
        self._metrics = metrics
        self._logger = logger
        self._period = PERIOD / time_scale
        self._ttl_ms = max(1, int(TTL * 1_000 / time_scale))
        self.problems = {"refresh": "the first one is not done yet"}

    async def run(self) -> None:
        """Refresh for ever, on time; a refresh that takes longer than a period costs the next ones their turn."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            await self.refresh()
            due += self._period * (1 + max(0.0, clock() - due) // self._period)
            await asyncio.sleep(due - clock())

    async def refresh(self) -> None:
        """Once. What fails is counted, logged and told in `problems`; the next refresh tries again."""
        start = time.perf_counter()
        failures: list[DependencyError] = []
        ids: Sequence[int] = []
        with self._call.tracer.start_as_current_span(
            "feature_refresh", attributes={"ai.workflow.type": "feature_refresh"}
        ) as span:
            try:
                ids, pixels = await self._call(
                    POSTGRES,
                    "select",
                    lambda: read_pixels(self._connections),
                    deadline=POSTGRES_DEADLINE,
                    attributes={"db.collection.name": ENTITIES_TABLE},
                )
                profiles, at = profile(pixels), datetime.now(UTC)
                await self._call(
                    POSTGRES,
                    "insert",
                    lambda: write_features(self._connections, ids, profiles, at),
                    deadline=POSTGRES_DEADLINE,
                    attributes={"db.collection.name": FEATURES_TABLE},
                )
                await self._call(
                    REDIS, "hset", lambda: self._write_redis(ids, pixels, profiles, at), deadline=REDIS_DEADLINE
                )
            except DependencyError as error:
                failures.append(error)
                span.set_status(StatusCode.ERROR, error.slug)
            context = span.get_span_context()
        self.problems = {error.dependency: f"{error.reason}: {error.detail}" for error in failures}
        self._report(time.perf_counter() - start, len(ids), failures, (context.trace_id, context.span_id))

    async def _write_redis(self, ids: Sequence[int], pixels: Matrix, profiles: Matrix, at: datetime) -> None:
        with redis_errors():
            for first in range(0, len(ids), PIPELINE):
                async with self._redis.pipeline(transaction=False) as pipe:
                    for row in range(first, min(first + PIPELINE, len(ids))):
                        features = {"pixels": Feature(pixels[row], at), "profile": Feature(profiles[row], at)}
                        pipe.hset(key(ids[row]), mapping=encode(features))  # type: ignore[arg-type]
                        pipe.pexpire(key(ids[row]), self._ttl_ms)
                    await pipe.execute()

    def _report(
        self, seconds: float, entities: int, failures: Sequence[DependencyError], span: tuple[int, int]
    ) -> None:
        outcome = "success" if not failures else "partial" if failures[0].dependency == REDIS else "failure"
        self._metrics.refreshes.labels(outcome).inc()
        self._metrics.duration.observe(seconds)
        if outcome == "success":
            self._metrics.last_success.set_to_current_time()
        fields: dict[str, object] = {
            "trace_id": f"{span[0]:032x}",
            "span_id": f"{span[1]:016x}",
            "operation": "feature_refresh",
            "entities": entities,
            "latency_ms": round(seconds * 1_000, 3),
            "status": outcome,
        }
        if failures:
            fields["error"] = failures[0].slug
            fields["detail"] = failures[0].detail
        log = {"success": self._logger.info, "partial": self._logger.warning, "failure": self._logger.error}[outcome]
        log("refresh", **fields)
