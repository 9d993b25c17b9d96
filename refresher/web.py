"""The HTTP face, GET /healthz and GET /metrics, and the refreshing that its lifespan starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.shared.dependency import Caller
from app.shared.exposition import exposition
from app.shared.feature_store import connect_redis
from app.shared.logs import LogWriter, make_logger
from app.shared.postgres import Connections
from app.shared.tracing import Tracing
from refresher.config import SERVICE, RefresherConfig
from refresher.metrics import RefresherMetrics
from refresher.refresh import POSTGRES_DEADLINE, Refresher

COMPONENT = "feature_refresh"


def create_app(config: RefresherConfig) -> Starlette:
    """The application; nothing need be there for it to start. Raises OSError for the log file."""
    telemetry = config.telemetry
    metrics = RefresherMetrics()
    tracing = Tracing(telemetry.otlp, telemetry.time_scale, service=SERVICE)
    writer = LogWriter.open(telemetry, SERVICE, metrics.registry)
    logger = make_logger(writer, COMPONENT)
    running: list[tuple[Refresher, asyncio.Task[None]]] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        connections = Connections(
            config.postgres, POSTGRES_DEADLINE, application="refresher", read_only=False, connections=1
        )
        redis = connect_redis(config.redis)
        call = Caller(tracing.tracer, metrics)
        refresher = Refresher(connections, redis, call, metrics, logger, telemetry.time_scale)
        task = asyncio.create_task(refresher.run())
        running.append((refresher, task))
        yield
        task.cancel()
        await asyncio.wait([task])
        await redis.aclose()
        connections.close()
        writer.close(timeout=0.3)
        tracing.close(timeout=0.4)

    async def healthz(_request: Request) -> Response:
        refresher, task = running[0]
        wrong = {"refresh": "it has ended"} if task.done() else refresher.problems
        reply = {"status": "unhealthy" if wrong else "ok", "problems": wrong}
        return Response(orjson.dumps(reply), 503 if wrong else 200, media_type="application/json")

    async def prometheus(request: Request) -> Response:
        body, content_type = exposition(metrics.registry, request.headers.get("accept"))
        return Response(body, headers={"content-type": content_type})

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", prometheus)], lifespan=lifespan)
