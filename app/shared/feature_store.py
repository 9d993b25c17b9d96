"""Where features stand, and in which form: PostgreSQL, which is the truth, and Redis in front of it.

PostgreSQL  entities(entity_id, pixels real[]); features(entity_id, feature_name, values real[], updated_at)
Redis       features:ENTITY_ID, a hash with two fields a feature: NAME holds its values as little-endian float32,
            NAME.updated_at the time in RFC 3339; it expires TTL after it was written
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import redis
from numpy.typing import NDArray
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from app.shared.dependency import REDIS, ConnectionLost, DependencyError
from app.shared.features import FEATURES

ENTITIES_TABLE = "entities"
FEATURES_TABLE = "features"
TTL = 300.0  # seconds, divided by the time scale
POOL_SIZE = 64  # connections
_FORM = np.dtype("<f4")


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature of one entity: (columns,) float32, and when they were computed."""

    values: NDArray[np.float32]
    updated_at: datetime


Features = Mapping[str, Feature]


def key(entity_id: int) -> str:
    """Of the entity's hash."""
    return f"features:{entity_id}"


def encode(features: Features) -> dict[str, bytes]:
    """The fields of the hash."""
    fields = {}
    for name, feature in features.items():
        fields[name] = feature.values.astype(_FORM).tobytes()
        fields[f"{name}.updated_at"] = feature.updated_at.isoformat().encode()
    return fields


def decode(fields: Mapping[bytes, bytes]) -> Features | None:
    """The features in the fields of a hash; None unless each of them is there, whole and dated."""
    features = {}
    for name, columns in FEATURES.items():
        values = fields.get(name.encode(), b"")
        try:
            updated_at = datetime.fromisoformat(fields.get(f"{name}.updated_at".encode(), b"").decode())
        except ValueError:
            return None
        if len(values) != columns * _FORM.itemsize or updated_at.tzinfo is None:
            return None
        features[name] = Feature(np.frombuffer(values, _FORM), updated_at.astimezone(UTC))
    return features


def connect_redis(url: str) -> Redis:
    """A client without deadlines and retries of its own: the caller's hold. Make it inside the loop that uses it."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=POOL_SIZE,
        timeout=None,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=None,
    )
    return Redis.from_pool(pool)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns what the client raises into DependencyError."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise ConnectionLost(REDIS, str(error)) from None
    except RuntimeError as error:
        # What uvloop says of a write to a connection that was reset just now; redis-py lets it through.
        if "the handler is closed" not in str(error):
            raise
        raise ConnectionLost(REDIS, "connection lost") from None
    except redis.RedisError as error:
        raise DependencyError(REDIS, "refused", str(error)) from None


def array_literal(values: NDArray[np.float32]) -> str:
    """(n,) as PostgreSQL writes an array; every float32 comes back as it was."""
    return "{" + ",".join(map(str, values.tolist())) + "}"
