"""How the faults on Redis talk to it: no second try, and no wait without an end."""

from __future__ import annotations

from typing import Any

WAIT = 5.0  # seconds for one answer


def connect(address: str, wait: float = WAIT) -> Any:
    """A client, whose methods raise redis.RedisError. address: host:port."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    host, port = address.rsplit(":", 1)
    never = Retry(NoBackoff(), 0)
    return redis.Redis(
        host, int(port), socket_timeout=wait, socket_connect_timeout=wait, retry=never, decode_responses=True
    )
