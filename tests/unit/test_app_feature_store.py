"""The forms in which features are kept, and who is asked for them when a store hangs or is gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
import uvloop
from opentelemetry.trace import NoOpTracer

from app.features import FeatureStore
from app.metrics import Metrics
from app.shared.dependency import Caller, ConnectionLost, DependencyError
from app.shared.feature_store import Feature, array_literal, connect_redis, decode, encode, redis_errors
from app.shared.postgres import Connections
from refresher.tables import unpack
from tests.unit.test_app_dependencies import hang, listening

AT = datetime(2026, 11, 24, 13, 50, 21, 123456, UTC)
FEATURES = {
    "pixels": Feature(np.arange(64, dtype=np.float32) / 3, AT),
    "profile": Feature(np.linspace(0, 1, 16, dtype=np.float32), AT + timedelta(seconds=1)),
}


def fields(**changes: bytes | None) -> dict[bytes, bytes]:
    """Of a whole hash, with changes; None leaves a field out."""
    whole: dict[str, bytes | None] = {**encode(FEATURES), **changes}
    return {name.encode(): content for name, content in whole.items() if content is not None}


def test_features_come_out_of_a_hash_as_they_went_in() -> None:
    found = decode(fields())
    assert found is not None and found.keys() == FEATURES.keys()
    for name, feature in FEATURES.items():
        assert np.array_equal(found[name].values, feature.values)
        assert found[name].updated_at == feature.updated_at


def test_a_time_is_read_in_whatever_zone_it_was_written() -> None:
    local = AT.astimezone(timezone(timedelta(hours=2))).isoformat().encode()
    found = decode(fields(**{"pixels.updated_at": local}))
    assert found is not None
    assert (found["pixels"].updated_at, found["pixels"].updated_at.tzinfo) == (AT, UTC)


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": None},
        {"profile": b""},
        {"profile": b"12345"},
        {"pixels.updated_at": None},
        {"pixels.updated_at": b"yesterday"},
        {"pixels.updated_at": b"\xff"},
        {"profile.updated_at": b"2026-11-24T13:50:21"},  # without a zone nobody knows when that was
    ],
)
def test_a_hash_that_is_not_whole_is_no_features(change: dict[str, bytes | None]) -> None:
    assert decode(fields(**change)) is None
    assert decode({}) is None


def test_an_array_literal_keeps_every_float32() -> None:
    values = np.float32([0, 1, -1.5, 0.1, 1 / 3, 16, 1e-7, 3.4e38])
    literal = array_literal(values)
    assert (literal[0], literal[-1]) == ("{", "}")
    assert np.array_equal(np.array(literal[1:-1].split(","), dtype=np.float64).astype(np.float32), values)


def sent(rows: Any) -> bytes:
    """Rows as array_send makes them: dimensions, flags, type, length, lower bound, then size and value of each."""
    head = np.array([1, 0, 700, len(rows[0]), 1], ">i4").tobytes()
    return b"".join(head + b"".join(b"\0\0\0\4" + np.array(one, ">f4").tobytes() for one in row) for row in rows)


def test_binary_arrays_are_unpacked_and_others_refused() -> None:
    rows = np.float32([[1, 2.5, -3], [4, 1 / 3, 1e-7]])
    assert np.array_equal(unpack(sent(rows), 2, 3), rows)
    with pytest.raises(DependencyError) as refused:
        unpack(sent(rows), 2, 4)
    assert refused.value.slug == "postgres-damaged"


def read(redis: str, postgres: str) -> tuple[str, Metrics]:
    """The slug of what reading raises where these addresses are of no use."""
    metrics = Metrics("digits", "v1")

    async def scenario() -> str:
        connections = Connections(f"postgresql://postgres@{postgres}/postgres", 1, application="test")
        call = Caller(NoOpTracer(), metrics)
        store = FeatureStore(connect_redis(f"redis://{redis}/0"), connections, call, metrics, 1)
        try:
            with pytest.raises(DependencyError) as raised:
                await asyncio.wait_for(store.read(1), 30)
            return raised.value.slug
        finally:
            await store.close()

    return asyncio.run(scenario()), metrics


def counted(metrics: Metrics, dependency: str) -> tuple[float | None, ...]:
    names = ("app_dependency_retries_total", "app_dependency_errors_total")
    return tuple(metrics.registry.get_sample_value(name, {"dependency": dependency}) for name in names)


def test_without_redis_postgres_is_asked() -> None:
    slug, metrics = read("127.0.0.1:1", "127.0.0.1:1")
    assert slug == "postgres-unreachable"
    assert counted(metrics, "redis") == counted(metrics, "postgres") == (1, 1)
    for source in ("redis", "postgres"):
        assert metrics.registry.get_sample_value("feature_store_reads_total", {"source": source}) == 0


def test_a_redis_that_hangs_is_given_up_at_its_deadline_and_postgres_is_asked() -> None:
    async def scenario() -> None:
        async with listening(hang) as address:
            slug, metrics = await asyncio.to_thread(read, address, "127.0.0.1:1")
            assert slug == "postgres-unreachable"
            assert counted(metrics, "redis") == (0, 1)
            took = metrics.registry.get_sample_value(
                "db_client_operation_duration_seconds_count",
                {"db_system_name": "redis", "db_operation_name": "hgetall"},
            )
            assert took == 1  # what failed is in the histogram, too

    asyncio.run(scenario())


def test_a_write_to_a_connection_that_was_closed_meanwhile_is_a_lost_connection() -> None:
    async def write() -> None:
        server = await asyncio.start_server(lambda _, writer: None, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        await writer.wait_closed()
        with pytest.raises(ConnectionLost), redis_errors():
            writer.writelines([b"HGETALL"])
        with pytest.raises(RuntimeError), redis_errors():
            raise RuntimeError("another")
        server.close()

    uvloop.run(write())
