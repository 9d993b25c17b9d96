"""One example of each fault, put on the reference system: what the catalogue shows and `make prove-faults` does."""

from __future__ import annotations

from typing import Any

# lasting, seed and whether traffic is due are for whoever uses them
EXAMPLES: dict[str, dict[str, Any]] = {
    "latency": {"link": "app->milvus", "delay": "100ms"},
    "bandwidth": {"link": "app->milvus", "rate": 20_000},
    "reset": {"link": "app->redis"},
    "blackhole": {"link": "app->redis"},
    "slow-close": {"link": "app->redis", "delay": "2s"},
    "half-open": {"link": "app->redis"},
    "corrupt": {"link": "app->model-server", "rate": 0.001},
    "connection-limit": {"link": "app->redis", "limit": 0},
    "pause": {"service": "model-server"},
    "kill": {"service": "model-server"},
    "restart": {"service": "model-server"},
    "slow-cpu": {"service": "model-server", "share": 0.2},
    "file-limit": {"service": "postgres"},
    "disk-full": {"service": "postgres"},
    "postgres-lock": {"table": "documents"},
    "postgres-long-transaction": {},
    "postgres-connections": {"existing": "end"},
    "redis-memory": {},
    "redis-slow-command": {},
    "milvus-released": {"collection": "documents"},
    "scrape-dropped": {"job": "redis"},
    "loki-refusing": {},
    "sink-stalled": {"service": "traces"},
}

# What makes the catalogue's load meet a fault that is about connections which begin or end: a second one, begun and
# ended as soon as the first is in force. Our service keeps its connections.
PROVOKED_BY: dict[str, tuple[str, dict[str, Any]]] = {
    "slow-close": ("restart", {"service": "redis"}),
    "half-open": ("restart", {"service": "redis"}),
    "connection-limit": ("reset", {"link": "app->redis", "new": False}),
    "file-limit": ("reset", {"link": "app->postgres", "new": False}),
}
