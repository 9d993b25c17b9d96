"""The feature store's cache alone: the hash of one entity after the other, straight from Redis.

Under the harness: `harness run examples/redis_features.yaml`. By hand, against a Redis that the refresher keeps filled:

    SLO_ARTEFACT_DIGITS=<directory of the digits> SLO_ADDRESS_REDIS_RESP=127.0.0.1:6379 \\
        locust -f scenarios/redis_features.py

`hit` is 1 where the entity was there, 0 where not; `age_seconds` is the age of the oldest of its features.
"""

from __future__ import annotations

import itertools
import time
from datetime import datetime
from typing import Any

from locust import task

from harness.load.users import address
from harness.load.users.redis import RedisUser
from scenarios.digits import ENTITIES

NAME = "redis-features"
DATES = (b"pixels.updated_at", b"profile.updated_at")  # fields of the hash features:ENTITY_ID, in RFC 3339
_STRIDE = 31  # users start this far apart
_users = itertools.count()


class RedisFeatures(RedisUser):
    """Reads one entity after the other."""

    host = address("redis", "resp")

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._next = next(_users) * _STRIDE

    def on_start(self) -> None:
        """A server counts no command that it never had: one that is no part of the load makes its counter exist."""
        self.client.execute("HGETALL", "features:0", record=False)

    @task  # type: ignore[untyped-decorator]
    def read(self) -> None:
        entity, _ = ENTITIES[self._next % len(ENTITIES)]
        self._next += 1
        reply = self.client.execute("HGETALL", f"features:{entity}", name=NAME)
        if not reply.ok:
            return
        fields = dict(zip(reply.value[::2], reply.value[1::2], strict=True))
        self.record("hit", bool(fields), name=NAME)
        if fields:
            oldest = min(datetime.fromisoformat(fields[one].decode()).timestamp() for one in DATES)
            self.record("age_seconds", max(0.0, time.time() - oldest), name=NAME)
