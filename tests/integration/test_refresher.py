"""The refresher on real stores: what it writes, how it outlives the loss of either, and how it ends."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
import redis
from ruamel.yaml import YAML

from app.shared.digits import Digits
from app.shared.feature_store import Features, decode, key
from app.shared.features import profile
from harness.stack.runtime import Stack
from tests.app_support import check_fields, log_fields
from tests.digits_support import built_digits
from tests.integration.helpers import ROOT
from tests.integration.service_process import Service, run_module, store_environment, stores, until
from tests.integration.sinks import running

pytestmark = pytest.mark.stack

SCALE = 150.0  # a refresh every 0.4 s, and Redis keeps features for 2 s
ENTITIES = 797
Start = Callable[..., Service]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stores(tmp_path_factory.mktemp("stores")) as stack:
        done = run_module("app.load_features", store_environment(stack, APP_DIGITS=str(built_digits())))
        assert (done.returncode, done.stderr) == (0, "")
        yield stack


@pytest.fixture
def start(stack: Stack, tmp_path: Path) -> Iterator[Start]:
    """Starts a refresher, which has refreshed once when it returns."""
    running: list[Service] = []

    def start(**changes: str) -> Service:
        env = store_environment(stack, APP_TIME_SCALE=f"{SCALE:g}", **changes)
        running.append(Service("refresher", tmp_path / "refresher.jsonl", "/healthz", env))
        return running[-1]

    yield start
    for service in running:
        service.kill()


@pytest.fixture
def cache(stack: Stack) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(store_environment(stack)["APP_REDIS"])
    client.flushall()
    yield client
    client.close()


def execute(stack: Stack, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(store_environment(stack)["APP_POSTGRES"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def value(refresher: Service, series: str) -> float:
    return refresher.value(series, "/metrics")


def refreshes(refresher: Service, outcome: str) -> float:
    return value(refresher, f'feature_refresh_total{{outcome="{outcome}"}}')


def await_another(refresher: Service, outcome: str = "success") -> None:
    """Until a refresh that began after now has ended so."""
    before = refreshes(refresher, outcome)
    until(lambda: refreshes(refresher, outcome) >= before + 2)


def problems(refresher: Service) -> dict[str, str]:
    found: dict[str, str] = json.loads(refresher.get("/healthz")[1])["problems"]
    return found


def cached(cache: redis.Redis, entity_id: int) -> Features | None:
    return decode(cache.hgetall(key(entity_id)))  # type: ignore[arg-type]


def test_both_stores_hold_what_the_pixels_make_with_one_new_time(
    stack: Stack, start: Start, cache: redis.Redis
) -> None:
    execute(stack, "UPDATE features SET \"values\" = '{1}', updated_at = '2020-01-01' WHERE entity_id % 2 = 0")
    execute(stack, "DELETE FROM features WHERE entity_id = 3")
    refresher = start()
    assert refreshes(refresher, "success") >= 1
    refresher.stop()
    pixels = Digits.open(built_digits()).pixels()
    expected = {"pixels": pixels, "profile": profile(pixels)}
    rows = execute(stack, 'SELECT entity_id, feature_name, "values", updated_at FROM features')
    assert len(rows) == 2 * ENTITIES
    assert len({at for *_, at in rows}) == 1
    (at,) = {at for *_, at in rows}
    for entity_id, name, values, _ in rows:
        assert np.array_equal(np.float32(values), expected[name][entity_id])
    for entity_id in (0, 3, ENTITIES - 1):
        found = cached(cache, entity_id)
        assert found is not None
        for name, feature in found.items():
            assert np.array_equal(feature.values, expected[name][entity_id])
            assert feature.updated_at == at
        assert 0 < cache.pttl(key(entity_id)) <= 300_000 / SCALE


def test_features_that_nobody_refreshes_any_more_leave_redis(start: Start, cache: redis.Redis) -> None:
    refresher = start()
    assert cache.dbsize() == ENTITIES
    refresher.stop()
    until(lambda: cache.dbsize() == 0)


def test_it_refreshes_again_and_again(stack: Stack, start: Start, cache: redis.Redis) -> None:
    refresher = start()
    first = value(refresher, "feature_refresh_last_success_timestamp_seconds")
    cache.flushall()
    execute(stack, "UPDATE features SET updated_at = '2020-01-01'")
    await_another(refresher)
    assert cache.dbsize() == ENTITIES
    assert execute(stack, "SELECT count(*) FROM features WHERE updated_at < '2021-01-01'") == [(0,)]
    assert value(refresher, "feature_refresh_last_success_timestamp_seconds") > first
    count = value(refresher, "feature_refresh_duration_seconds_count")
    assert count >= 2
    assert refreshes(refresher, "partial") == refreshes(refresher, "failure") == 0


def test_without_redis_postgres_is_refreshed_and_both_are_when_it_is_back(
    stack: Stack, start: Start, cache: redis.Redis
) -> None:
    refresher = start()
    stack.stop_service("redis")
    try:
        await_another(refresher, "partial")
        execute(stack, "UPDATE features SET updated_at = '2020-01-01'")
        await_another(refresher, "partial")
        assert execute(stack, "SELECT count(*) FROM features WHERE updated_at < '2021-01-01'") == [(0,)]
        assert problems(refresher).keys() == {"redis"}
        assert value(refresher, 'feature_refresh_errors_total{dependency="redis"}') >= 2
    finally:
        stack.start_service("redis")
    until(lambda: not problems(refresher))
    assert cache.dbsize() == ENTITIES


def test_a_redis_that_hangs_is_given_up(stack: Stack, start: Start) -> None:
    refresher = start()
    stack.signal("redis", signal.SIGSTOP)
    try:
        until(lambda: "timeout" in problems(refresher).get("redis", ""))
    finally:
        stack.signal("redis", signal.SIGCONT)
    until(lambda: not problems(refresher))


def test_without_postgres_nothing_is_refreshed_until_it_is_back(stack: Stack, start: Start) -> None:
    refresher = start()
    stack.stop_service("postgres")
    try:
        await_another(refresher, "failure")
        assert problems(refresher).keys() == {"postgres"}
        assert refresher.get("/healthz")[0] == 503
        line = refresher.lines()[-1]
        assert (line["level"], line["status"], line["error"]) == ("ERROR", "failure", "postgres-unreachable")
    finally:
        stack.start_service("postgres")
    until(lambda: not problems(refresher))


def test_a_postgres_that_hangs_is_given_up(stack: Stack, start: Start) -> None:
    refresher = start()
    connection = psycopg2.connect(store_environment(stack)["APP_POSTGRES"])
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE features IN ACCESS EXCLUSIVE MODE")
        until(lambda: "timeout" in problems(refresher).get("postgres", ""))
    finally:
        connection.close()
    until(lambda: not problems(refresher))


def test_an_empty_table_is_a_failure_and_not_a_success_over_nothing(stack: Stack, start: Start) -> None:
    refresher = start()
    execute(stack, "ALTER TABLE entities RENAME TO elsewhere; CREATE TABLE entities (LIKE elsewhere)")
    try:
        until(lambda: "run app.load_features" in problems(refresher).get("postgres", ""))
    finally:
        execute(stack, "DROP TABLE entities; ALTER TABLE elsewhere RENAME TO entities")
    until(lambda: not problems(refresher))


def test_each_refresh_is_one_line_and_one_trace_and_the_end_loses_neither(start: Start, tmp_path: Path) -> None:
    with running("otlp_sink", tmp_path / "spans.jsonl") as sink:
        refresher = start(APP_OTLP=f"http://{sink.host}:{sink.port}/v1/traces")
        await_another(refresher)
        assert refresher.stop() == (0, "")
        spans = sink.lines()
    lines = refresher.lines()
    assert len(lines) >= 3
    for line in lines:
        check_fields(line, log_fields("feature_refresh"))
        assert (line["status"], line["entities"]) == ("success", ENTITIES)
    schema = YAML(typ="safe").load((ROOT / "monitoring/schema/spans.yaml").read_text())["spans"]
    described = {one["name"]: one for one in schema if one["service"] == "feature-refresher"}
    roots = {span["trace_id"]: span for span in spans if span["name"] == "feature_refresh"}
    assert {(line["trace_id"], line["span_id"]) for line in lines} <= {
        (trace, span["span_id"]) for trace, span in roots.items()
    }
    for line in lines:
        parts = [span for span in spans if span["trace_id"] == line["trace_id"] and span["parent_span_id"]]
        assert [span["name"] for span in parts] == ["postgres.select", "postgres.insert", "redis.hset"]
        assert {span["parent_span_id"] for span in parts} == {line["span_id"]}
    for span in spans:
        expected = described[span["name"]]["attributes"]
        assert set(span["attributes"]) <= set(expected), span["name"]
        assert {name for name, one in expected.items() if one["required"]} <= set(span["attributes"]), span["name"]
        assert span["kind"] == described[span["name"]]["kind"]
        assert span["resource"]["service.name"] == "feature-refresher"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"APP_LISTEN": ""}, "config-missing: APP_LISTEN is not set"),
        ({"APP_POSTGRES": ""}, "config-missing: APP_POSTGRES is not set"),
        ({"APP_REDIS": "http://127.0.0.1:1"}, "config-invalid: APP_REDIS='http://127.0.0.1:1'"),
        ({"APP_LOG_FILE": "/dev/null/log"}, "config-invalid: APP_LOG_FILE: "),
    ],
)
def test_a_configuration_that_cannot_be_used_ends_with_2_and_its_name(
    stack: Stack, changes: dict[str, str], said: str
) -> None:
    done = run_module("refresher", {"APP_LISTEN": "127.0.0.1:1", **store_environment(stack), **changes})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
