"""The feature store on real stores: what is loaded, where features are read from, and how old they are."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
import redis

from app.shared.digits import Digits
from app.shared.feature_store import Feature, encode, key
from app.shared.features import FEATURES, profile
from harness.stack.runtime import Stack
from tests.app_support import check_fields, log_fields, small_corpus
from tests.digits_support import built_digits
from tests.integration.service_process import Service, run_module, store_environment, stores, until

pytestmark = pytest.mark.stack

SCALE = 50.0  # the age of features is asked for ten times a second
HEALTH = "/healthz?exclude=milvus,model-server,load-corpus"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stores(tmp_path_factory.mktemp("stores")) as stack:
        done = run_module("app.load_features", environment(stack))
        assert (done.returncode, done.stderr) == (0, "")
        yield stack


@pytest.fixture(scope="module")
def app(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    log = tmp_path_factory.mktemp("app") / "app.jsonl"
    env = environment(stack, APP_CORPUS=str(small_corpus()), APP_TIME_SCALE=f"{SCALE:g}")
    nobody = {"APP_MILVUS": "http://127.0.0.1:1", "APP_MODEL_SERVER": "http://127.0.0.1:1"}
    app = Service("app", log, HEALTH, {**env, **nobody})
    yield app
    app.kill()


def environment(stack: Stack, **more: str) -> dict[str, str]:
    return store_environment(stack, APP_DIGITS=str(built_digits()), **more)


def execute(stack: Stack, sql: str, *values: object) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(environment(stack)["APP_POSTGRES"])
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def cache(stack: Stack) -> Iterator[redis.Redis]:
    """The stack's Redis, empty."""
    client = redis.Redis.from_url(environment(stack)["APP_REDIS"])
    client.flushall()
    yield client
    client.close()


def read(app: Service, entity_id: int) -> dict[str, Any]:
    status, text = app.get(f"/features/{entity_id}")
    assert status == 200, text
    answer: dict[str, Any] = json.loads(text)
    return answer


def source(app: Service, entity_id: int) -> str:
    return str(read(app, entity_id)["source"])


def until_cached(cache: redis.Redis, entity_id: int) -> None:
    """What is written back is written after the reply."""
    until(lambda: cache.exists(key(entity_id)))


def test_loading_again_only_verifies_and_a_missing_row_is_an_error(stack: Stack) -> None:
    again = run_module("app.load_features", environment(stack))
    assert (again.returncode, again.stderr) == (0, "")
    assert "797 entities with 2 features each were there" in again.stdout
    (row,) = execute(stack, "DELETE FROM features WHERE entity_id = 5 AND feature_name = 'pixels' RETURNING *")
    try:
        broken = run_module("app.load_features", environment(stack))
        assert broken.returncode == 1
        assert broken.stderr == "load-incomplete: PostgreSQL holds 1,593 of 1,594 rows in table features\n"
    finally:
        execute(stack, "INSERT INTO features VALUES (%s, %s, %s, %s)", *row)


def test_data_of_another_artefact_is_replaced(stack: Stack) -> None:
    execute(stack, "COMMENT ON TABLE entities IS 'of another model'")
    execute(stack, "DELETE FROM entities WHERE entity_id >= 700")
    done = run_module("app.load_features", environment(stack))
    assert done.returncode == 0, done.stderr
    assert "797 entities with 2 features each copied" in done.stdout


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"APP_POSTGRES": ""}, 2, "config-missing: APP_POSTGRES is not set"),
        ({"APP_DIGITS": "/nowhere"}, 2, "digits-missing: no manifest.json in /nowhere"),
        ({"APP_POSTGRES": "postgresql://postgres@127.0.0.1:1/postgres"}, 1, "postgres-failed: connection to server"),
    ],
)
def test_a_loader_that_cannot_work_says_why(stack: Stack, changes: dict[str, str], code: int, said: str) -> None:
    done = run_module("app.load_features", {**environment(stack), **changes})
    assert done.returncode == code
    assert done.stderr.startswith(said)


def test_features_are_those_of_the_artefact_and_come_from_redis_once_they_were_read(
    app: Service, cache: redis.Redis
) -> None:
    digits = Digits.open(built_digits())
    first = read(app, 5)
    until_cached(cache, 5)
    second = read(app, 5)
    assert (first["source"], second["source"]) == ("postgres", "redis")
    pixels = digits.pixels()[5:6]
    for answer in (first, second):
        assert answer["entity_id"] == 5
        assert np.array_equal(np.float32(answer["features"]["pixels"]), pixels[0])
        assert np.array_equal(np.float32(answer["features"]["profile"]), profile(pixels)[0])
        assert {name: len(values) for name, values in answer["features"].items()} == FEATURES
        for name in FEATURES:
            assert datetime.fromisoformat(answer["updated_at"][name]).utcoffset() is not None
            assert 0 <= answer["age_seconds"][name] < 600
    assert first["updated_at"] == second["updated_at"]
    assert 0 < cache.pttl(key(5)) <= 300_000 / SCALE


def test_an_entity_that_there_is_not_is_the_callers_mistake(app: Service, cache: redis.Redis) -> None:
    before = app.value("feature_store_requests_total"), app.value("feature_store_errors_total")
    status, text = app.get("/features/797")
    assert (status, json.loads(text)["error"]) == (404, "unknown-entity")
    after = app.value("feature_store_requests_total"), app.value("feature_store_errors_total")
    assert after == (before[0] + 1, before[1])
    assert cache.keys() == []


@pytest.mark.parametrize(
    "damage", [{"profile": b"short"}, {"pixels.updated_at": b"long ago"}, {"pixels": b"\0" * 4 * 65}]
)
def test_a_damaged_hash_is_read_from_postgres_and_mended(
    app: Service, cache: redis.Redis, damage: dict[str, bytes]
) -> None:
    read(app, 6)
    until_cached(cache, 6)
    whole = cache.hgetall(key(6))
    cache.hset(key(6), mapping=damage)  # type: ignore[arg-type]
    assert source(app, 6) == "postgres"
    until(lambda: cache.hgetall(key(6)) == whole)
    assert source(app, 6) == "redis"


def test_what_the_refresher_wrote_meanwhile_is_not_overwritten(stack: Stack, app: Service, cache: redis.Redis) -> None:
    """A reply that was read before a refresh is written back after it."""
    newer = encode({name: Feature(np.ones(n, np.float32), datetime.now(UTC)) for name, n in FEATURES.items()})
    connection = psycopg2.connect(environment(stack)["APP_POSTGRES"])
    try:
        with connection.cursor() as cursor, ThreadPoolExecutor() as pool:
            cursor.execute("LOCK TABLE features IN ACCESS EXCLUSIVE MODE")
            reply = pool.submit(source, app, 7)  # finds nothing in Redis, and waits for PostgreSQL
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s"
            until(lambda: execute(stack, waiting, "%entity_id = 7"))
            cache.hset(key(7), mapping=newer)  # type: ignore[arg-type]
            connection.rollback()
            assert reply.result() == "postgres"
    finally:
        connection.close()
    until(lambda: cache.pttl(key(7)) > 0)  # it was written back
    assert cache.hgetall(key(7)) == {name.encode(): content for name, content in newer.items()}


def test_without_redis_postgres_answers_and_redis_is_used_again_when_it_is_back(
    stack: Stack, app: Service, cache: redis.Redis
) -> None:
    read(app, 8)
    until_cached(cache, 8)
    reads = app.value('feature_store_reads_total{source="postgres"}')
    stack.stop_service("redis")
    try:
        assert [source(app, 8) for _ in range(5)] == ["postgres"] * 5
        assert json.loads(app.get(HEALTH)[1])["problems"].keys() == {"redis"}
        assert app.get(HEALTH + ",redis")[0] == 200
    finally:
        stack.start_service("redis")
    assert app.value('feature_store_reads_total{source="postgres"}') == reads + 5
    assert app.value('app_dependency_errors_total{dependency="redis"}') >= 5
    until(lambda: source(app, 8) == "redis")


def test_a_hung_redis_costs_its_deadline_and_no_answer(stack: Stack, app: Service, cache: redis.Redis) -> None:
    read(app, 9)
    until_cached(cache, 9)
    stack.signal("redis", signal.SIGSTOP)
    try:
        assert source(app, 9) == "postgres"
    finally:
        stack.signal("redis", signal.SIGCONT)
    until(lambda: source(app, 9) == "redis")


def test_a_hung_postgres_is_an_error_only_where_it_is_needed(stack: Stack, app: Service, cache: redis.Redis) -> None:
    read(app, 10)
    until_cached(cache, 10)
    errors = app.value("feature_store_errors_total")
    connection = psycopg2.connect(environment(stack)["APP_POSTGRES"])
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE features IN ACCESS EXCLUSIVE MODE")
        assert source(app, 10) == "redis"
        status, text = app.get("/features/11")
        assert (status, json.loads(text)["error"]) == (503, "postgres-timeout")
        assert app.value("feature_store_errors_total") == errors + 1
        # nobody can ask for the time of the last update now: the age grows by itself
        series = 'feature_store_freshness_seconds{feature_name="pixels"}'
        age = app.value(series)
        until(lambda: app.value(series) > age + 0.5)
    finally:
        connection.close()
    assert source(app, 11) == "postgres"


def test_the_age_of_features_is_that_of_their_last_update(stack: Stack, app: Service) -> None:
    def set_age(seconds: int, feature: str) -> None:
        execute(
            stack,
            "UPDATE features SET updated_at = now() - %s * interval '1 second' WHERE feature_name = %s",
            seconds,
            feature,
        )

    def age(feature: str) -> float:
        return app.value(f'feature_store_freshness_seconds{{feature_name="{feature}"}}')

    set_age(1_000, "pixels")
    until(lambda: 1_000 <= age("pixels") < 1_100)
    assert age("profile") < 1_000
    set_age(0, "pixels")
    until(lambda: age("pixels") < 100)
    last = app.value('feature_store_last_update_timestamp_seconds{feature_name="pixels"}')
    (row,) = execute(stack, "SELECT extract(epoch FROM max(updated_at)) FROM features WHERE feature_name = 'pixels'")
    assert last == pytest.approx(float(row[0]), abs=1e-3)


def test_a_missing_table_is_named_with_the_job_that_fills_it(stack: Stack, app: Service) -> None:
    execute(stack, "ALTER TABLE features RENAME TO elsewhere")
    try:
        status, text = app.get(HEALTH)
        assert status == 503
        assert json.loads(text)["problems"] == {"postgres": "incomplete: no table features, run app.load_features"}
        assert app.get(HEALTH + ",load-features")[0] == 200
    finally:
        execute(stack, "ALTER TABLE elsewhere RENAME TO features")


def test_each_reply_left_a_line_of_the_described_form(app: Service, tmp_path: Path) -> None:
    read(app, 12)
    until(lambda: app.lines()[-1]["entity_id"] == 12)
    for line in app.lines():
        check_fields(line, log_fields("feature_store"))
    assert {line["status"] for line in app.lines()} >= {"success", "error", "invalid"}
