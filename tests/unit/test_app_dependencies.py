"""Deadlines and retries, against peers that hang, hang up or are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from opentelemetry.trace import NoOpTracer

from app.metrics import Metrics
from app.milvus import MilvusSearch
from app.postgres import Documents
from app.shared.dependency import Caller, ConnectionLost, DependencyError
from app.shared.postgres import Connections

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[str]:
    """host:port of a peer on a free port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    try:
        yield "{}:{}".format(*server.sockets[0].getsockname())
    finally:
        server.close()


async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def new_metrics() -> Metrics:
    return Metrics("digits", "v1")


def counted(metrics: Metrics, name: str, dependency: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"dependency": dependency})


def documents_at(address: str, connections: int = 8) -> Documents:
    dsn = f"postgresql://postgres@{address}/postgres"
    return Documents(Connections(dsn, timeout=1, application="test", connections=connections))


async def failure(dependency: str, attempt: Callable[[], Any], metrics: Metrics, deadline: float) -> DependencyError:
    with pytest.raises(DependencyError) as caught:
        call = Caller(NoOpTracer(), metrics)
        await asyncio.wait_for(call(dependency, "search", attempt, deadline=deadline), 30)
    return caught.value


def test_a_lost_connection_is_tried_once_more_and_no_more() -> None:
    metrics, attempts = new_metrics(), 0

    async def attempt() -> int:
        nonlocal attempts
        attempts += 1
        if attempts != 2:
            raise ConnectionLost("milvus", "gone")
        return attempts

    async def scenario() -> None:
        assert await Caller(NoOpTracer(), metrics)("milvus", "search", attempt, deadline=5) == 2
        assert counted(metrics, "app_dependency_errors_total", "milvus") == 0
        error = await failure("milvus", attempt, metrics, 5)
        assert (attempts, error.reason) == (4, "unreachable")
        assert counted(metrics, "app_dependency_retries_total", "milvus") == 2
        assert counted(metrics, "app_dependency_errors_total", "milvus") == 1

    asyncio.run(scenario())


def test_other_failures_are_not_tried_again() -> None:
    metrics, attempts = new_metrics(), 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        raise DependencyError("postgres", "refused", "no such table")

    asyncio.run(failure("postgres", attempt, metrics, 5))
    assert attempts == 1
    assert counted(metrics, "app_dependency_retries_total", "postgres") == 0


def test_a_hung_postgres_is_given_up_at_the_deadline() -> None:
    metrics = new_metrics()

    async def scenario() -> None:
        async with listening(hang) as address:
            documents = documents_at(address, connections=1)
            for _ in range(2):  # the only connection was given back
                error = await failure("postgres", lambda: documents.get([1]), metrics, 0.1)
                assert error.reason == "timeout"

    asyncio.run(scenario())
    assert counted(metrics, "app_dependency_errors_total", "postgres") == 2
    assert counted(metrics, "app_dependency_retries_total", "postgres") == 0


def test_a_hung_milvus_is_given_up_at_the_deadline() -> None:
    metrics = new_metrics()

    async def scenario() -> None:
        async with listening(hang) as address:
            search = MilvusSearch(address, effort=1, timeout=0.1)
            vector = np.ones(128, dtype=np.float32)
            error = await failure("milvus", lambda: search.search(vector, 10), metrics, 5)
            assert (error.reason, error.detail) == ("timeout", "no answer within 0.1 s")
            await search.close()

    asyncio.run(scenario())
    assert counted(metrics, "app_dependency_errors_total", "milvus") == 1


def test_a_postgres_that_hangs_up_is_a_lost_connection() -> None:
    async def scenario() -> None:
        async with listening(hang_up) as address:
            with pytest.raises(ConnectionLost):
                await documents_at(address).get([1])

    asyncio.run(scenario())
