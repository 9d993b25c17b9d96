"""The reading side of the feature store: Redis first, PostgreSQL where Redis has nothing or does not answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from typing import cast

import numpy as np
from redis.asyncio import Redis

from app.metrics import Metrics
from app.shared.dependency import POSTGRES, REDIS, Caller, DependencyError
from app.shared.feature_store import FEATURES_TABLE, TTL, Feature, Features, decode, encode, key, redis_errors
from app.shared.features import FEATURES
from app.shared.postgres import Connections

REDIS_DEADLINE = 0.25  # seconds, retry included
POSTGRES_DEADLINE = 1.0
MAX_WRITES = 32  # to Redis at once; beyond them a reply's features are simply not kept
_SELECT = f'SELECT feature_name, "values", updated_at FROM {FEATURES_TABLE} WHERE entity_id = %s'


class UnknownEntityError(Exception):
    """No such entity: the caller's mistake."""


@dataclass(frozen=True, slots=True)
class Found:
    """All features of an entity, and where they were: redis or postgres."""

    features: Features
    source: str


class FeatureStore:
    """Make it inside the event loop that uses it."""

    def __init__(
        self, redis: Redis, connections: Connections, call: Caller, metrics: Metrics, time_scale: float
    ) -> None:
        """`connections` to PostgreSQL; `time_scale` divides the time that Redis keeps what is written back."""
        self._redis = redis
        self._connections = connections
        self._call = call
        self._metrics = metrics
        self._ttl_ms = max(1, int(TTL * 1_000 / time_scale))
        self._writes: set[asyncio.Task[None]] = set()

    async def read(self, entity_id: int) -> Found:
        """Raises UnknownEntityError, and DependencyError where PostgreSQL was needed and failed."""
        try:
            fields = await self._call(REDIS, "hgetall", lambda: self._hgetall(entity_id), deadline=REDIS_DEADLINE)
        except DependencyError:
            fields = {}  # counted by the caller; PostgreSQL has it too
        if (features := decode(fields)) is not None:
            return self._found(features, REDIS)
        features = await self._call(
            POSTGRES,
            "select",
            lambda: self._select(entity_id),
            deadline=POSTGRES_DEADLINE,
            attributes={"db.collection.name": FEATURES_TABLE},
        )
        self._write_back(entity_id, features, damaged=bool(fields))
        return self._found(features, POSTGRES)

    async def check_redis(self) -> None:
        """Raises DependencyError unless Redis answers."""
        with redis_errors():
            await self._redis.ping()

    async def settle(self) -> None:
        """Wait until nothing is being written back."""
        while self._writes:
            await asyncio.wait(self._writes)

    async def close(self) -> None:
        """Drop what is being written, and the connections to Redis."""
        for task in self._writes:
            task.cancel()
        await self.settle()
        await self._redis.aclose()

    def _found(self, features: Features, source: str) -> Found:
        self._metrics.feature_reads.labels(source).inc()
        return Found(features, source)

    async def _hgetall(self, entity_id: int) -> dict[bytes, bytes]:
        with redis_errors():
            return cast(dict[bytes, bytes], await self._redis.hgetall(key(entity_id)))

    async def _select(self, entity_id: int) -> Features:
        rows = await self._connections.query(_SELECT, (entity_id,))
        if not rows:
            raise UnknownEntityError(f"no entity {entity_id}")
        features = {
            name: Feature(np.array(values, np.float32), updated_at.astimezone(UTC)) for name, values, updated_at in rows
        }
        found = {name: len(feature.values) for name, feature in features.items()}
        if found != FEATURES:
            raise DependencyError(POSTGRES, "incomplete", f"entity {entity_id} has {found}, expected {FEATURES}")
        return features

    def _write_back(self, entity_id: int, features: Features, damaged: bool) -> None:
        """Best effort, after the reply."""
        if len(self._writes) >= MAX_WRITES:
            return
        task = asyncio.create_task(self._write(entity_id, features, damaged))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, entity_id: int, features: Features, damaged: bool) -> None:
        with suppress(DependencyError):  # counted by the caller
            await self._call(REDIS, "hset", lambda: self._hset(entity_id, features, damaged), deadline=REDIS_DEADLINE)

    async def _hset(self, entity_id: int, features: Features, damaged: bool) -> None:
        name = key(entity_id)
        with redis_errors():
            async with self._redis.pipeline(transaction=True) as pipe:
                if damaged:
                    pipe.delete(name)
                # Only what is not there: the refresher may have been here meanwhile, and its values are newer.
                for field, content in encode(features).items():
                    pipe.hsetnx(name, field, content)
                pipe.pexpire(name, self._ttl_ms)
                await pipe.execute()
