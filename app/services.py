"""What the app opens when it starts and closes when it stops: its clients, and the services on top of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

from opentelemetry.trace import NoOpTracer, Tracer

from app.config import COLLECTION, AppConfig
from app.embedding import Embedder
from app.features import POSTGRES_DEADLINE as FEATURES_DEADLINE
from app.features import FeatureStore
from app.feedback import Feedback
from app.freshness import watch
from app.metrics import Metrics
from app.milvus import MilvusSearch
from app.model_client import ModelClient
from app.monitor import ModelMonitor, RecentPredictions
from app.postgres import Documents
from app.predict import PredictService
from app.search import MILVUS_DEADLINE, POSTGRES_DEADLINE, SearchService
from app.shared.dependency import MILVUS, MODEL_SERVER, POSTGRES, REDIS, Caller, DependencyError
from app.shared.digits import CLASSES, Digits
from app.shared.feature_store import FEATURES_TABLE, connect_redis
from app.shared.postgres import Connections

APPLICATION = "app"  # as PostgreSQL sees us
LOADERS = {COLLECTION: "load-corpus", FEATURES_TABLE: "load-features"}  # table -> the job that fills it


class Services:
    """Make it inside the event loop that serves. No dependency is needed to start."""

    def __init__(self, config: AppConfig, digits: Digits, embedder: Embedder, metrics: Metrics, tracer: Tracer) -> None:
        scale = config.telemetry.time_scale
        call = Caller(tracer, metrics)
        recent = RecentPredictions()
        # A pool for each: searches that wait for their table must not keep predictions from theirs.
        self._pools = [
            Connections(config.stores.postgres, deadline, application=APPLICATION)
            for deadline in (POSTGRES_DEADLINE, FEATURES_DEADLINE)
        ]
        self._neighbours = MilvusSearch(config.stores.milvus, config.effort, MILVUS_DEADLINE)
        self._model = ModelClient(config.model_server, digits.model_name)
        self.features = FeatureStore(connect_redis(config.redis), self._pools[1], call, metrics, scale)
        self.search = SearchService(embedder, self._neighbours, Documents(self._pools[0]), call)
        self.predict = PredictService(
            self.features,
            self._model,
            recent,
            call,
            {"ai.model.name": digits.model_name, "ai.model.version": digits.model_version},
        )
        self.feedback = Feedback(recent, ModelMonitor(CLASSES, digits.accuracy), metrics)
        self._watch = asyncio.create_task(
            watch(self._pools[1], Caller(NoOpTracer(), metrics), metrics.freshness, scale)  # nobody's request: no span
        )

    def checks(self, exclude: Collection[str]) -> dict[str, Callable[[], Awaitable[None]]]:
        """By dependency, what raises DependencyError unless it can be used. `exclude` may also name a loader's job."""
        tables = [table for table, loader in LOADERS.items() if loader not in exclude]
        checks = {
            MILVUS: self._neighbours.check,
            POSTGRES: lambda: self._check_tables(tables),
            REDIS: self.features.check_redis,
            MODEL_SERVER: self._model.check,
        }
        return {name: check for name, check in checks.items() if name not in exclude}

    async def close(self) -> None:
        """Drop everything."""
        self._watch.cancel()
        await asyncio.wait([self._watch])
        await self.features.close()
        await self._model.close()
        await self._neighbours.close()
        for pool in self._pools:
            pool.close()

    async def _check_tables(self, tables: list[str]) -> None:
        sql = "SELECT t FROM unnest(%s::text[]) AS t WHERE to_regclass(t) IS NULL"
        rows = await self._pools[0].query(sql, (tables,))
        if missing := [f"no table {table}, run app.{LOADERS[table].replace('-', '_')}" for (table,) in rows]:
            raise DependencyError(POSTGRES, "incomplete", "; ".join(missing))
