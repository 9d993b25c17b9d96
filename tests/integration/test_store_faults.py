"""Faults on data stores: what a client of the store notices, and that nothing of them is left however they end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
import redis

from harness.core.errors import HarnessError, UsageError
from harness.faults import guarded, postgres_fault, redis_slow
from harness.faults.making import make
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent
from harness.stack.handle import Stack
from harness.stack.runtime import up
from tests.integration.forked import forked_child
from tests.integration.service_faults_lab import ask, set_and_killed, to_postgres, to_redis

pytestmark = pytest.mark.stack

TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: stores}
spec:
  services:
    postgres: {use: postgres}
    redis: {use: redis}
    milvus: {use: milvus}
  target: redis.resp
"""
PATIENCE = 30.0
ROWS = 10
MAKE: dict[str, dict[str, Any]] = {
    "postgres-lock": {"table": "documents"},
    "postgres-long-transaction": {},
    "postgres-connections": {},
    "redis-memory": {},
    "redis-slow-command": {"each": "300ms", "every": "400ms"},
    "milvus-released": {},
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("stores")
    (directory / "stack.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        with up(directory / "stack.yaml", lease=True, emit=lambda _: None) as one:
            sql(one, "CREATE TABLE documents AS SELECT generate_series(1, 1000) AS id")
            sql(one, "ALTER SYSTEM SET autovacuum = off")
            sql(one, "SELECT pg_reload_conf()")
            milvus = to_milvus(one)
            milvus.create_collection("documents", dimension=4, consistency_level="Strong")
            milvus.insert("documents", [{"id": id, "vector": [id, 1, 2, 3]} for id in range(ROWS)])
            milvus.close()
            yield one


def sql(stack: Stack, text: str) -> list[Any]:
    connection = to_postgres(stack)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return list(cursor.fetchall()) if cursor.description else [connection.notices]
    finally:
        connection.close()


def to_milvus(stack: Stack) -> Any:
    from pymilvus import MilvusClient

    return MilvusClient(f"http://{stack.address('milvus.grpc')}", timeout=10)


def found(stack: Stack) -> int:
    """How many rows a search has found."""
    client = to_milvus(stack)
    try:
        return len(client.search("documents", [[1.0, 1, 2, 3]], limit=ROWS, consistency_level="Strong", timeout=5)[0])
    finally:
        client.close()


def is_clear(stack: Stack, name: str) -> bool:
    """Whether nothing of a fault is left, by what a client and the server say."""
    if name.startswith("postgres"):
        try:
            ours = sql(stack, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'slo-harness fault'")
            locks = sql(stack, "SELECT count(*) FROM pg_locks WHERE relation = 'documents'::regclass")
        except psycopg2.OperationalError:
            return False
        return (ours, locks) == ([(0,)], [(0,)])
    if name.startswith("redis"):
        client = to_redis(stack, 5)
        try:
            settings = client.config_get("maxmemory*")
            client.set("x", 1)
        except redis.RedisError:
            return False
        finally:
            client.close()
        told = {key: str(settings[key]) for key in ("maxmemory", "maxmemory-policy")}
        return told == {"maxmemory": "0", "maxmemory-policy": "noeviction"} and client.dbsize() == 1
    from pymilvus import MilvusException

    try:
        return found(stack) == ROWS
    except MilvusException:
        return False


# what a client notices


def test_who_wants_a_locked_table_waits_and_is_counted(stack: Stack) -> None:
    told: list[Event] = []
    reader = to_postgres(stack)
    with reader.cursor() as cursor, make(stack, "postgres-lock", {"table": "documents"}, told.append) as fault:
        cursor.execute("SET statement_timeout = '1s'")
        with pytest.raises(psycopg2.errors.QueryCanceled):
            cursor.execute("SELECT count(*) FROM documents")
    reader.close()
    assert fault.counters() == {"waiting": 1}
    assert is_clear(stack, "postgres-lock")
    begin, end = told
    assert isinstance(begin, FaultEvent) and isinstance(end, FaultEvent)
    assert begin.touches == ("service postgres",) and begin.parameters["table"] == "public.documents"
    assert "AccessExclusiveLock" in begin.how and "can be had" in end.how


def test_a_weaker_lock_stops_writes_alone_and_the_first_table_is_told(stack: Stack) -> None:
    with make(stack, "postgres-lock", {"mode": "share"}) as fault:
        assert fault.parameters()["table"] == "public.documents"
        assert sql(stack, "SELECT count(*) FROM documents") == [(1000,)]
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            sql(stack, "SET lock_timeout = '50ms'; UPDATE documents SET id = id")


def test_vacuum_removes_nothing_that_died_since_a_long_transaction_began(stack: Stack) -> None:
    sql(stack, "CREATE TABLE doomed AS SELECT generate_series(1, 500) AS id")
    try:
        with make(stack, "postgres-long-transaction", {}):
            sql(stack, "DELETE FROM doomed")
            assert "500 are dead but not yet removable" in str(sql(stack, "VACUUM (VERBOSE) doomed"))
        assert "500 removed" in str(sql(stack, "VACUUM (VERBOSE) doomed"))
    finally:
        sql(stack, "DROP TABLE doomed")


def test_with_all_connections_taken_nobody_is_let_in_and_who_was_there_may_stay(stack: Stack) -> None:
    there = to_postgres(stack)
    with make(stack, "postgres-connections", {}), there.cursor() as cursor:
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            to_postgres(stack)
        cursor.execute("SELECT 1")
    there.close()
    assert is_clear(stack, "postgres-connections")


def test_sessions_that_are_there_can_be_ended_and_a_place_that_becomes_free_is_taken(stack: Stack) -> None:
    there = to_postgres(stack)
    with make(stack, "postgres-connections", {"existing": "end"}) as fault:
        with pytest.raises(psycopg2.OperationalError), there.cursor() as cursor:
            cursor.execute("SELECT 1")
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            to_postgres(stack)
    assert fault.counters()["ended"] >= 1
    with make(stack, "postgres-connections", {"spare": 3}):
        some = [to_postgres(stack) for _ in range(3)]
        with pytest.raises(psycopg2.OperationalError, match="too many clients"):
            to_postgres(stack)
    for one in some:
        one.close()


def test_a_redis_without_memory_refuses_writes_and_answers_reads(stack: Stack) -> None:
    client = to_redis(stack, 5)
    client.set("x", 1)
    with make(stack, "redis-memory", {}) as fault:
        with pytest.raises(redis.OutOfMemoryError):
            client.set("y", 1)
        assert client.get("x") == b"1"
        assert fault.counters() == {"refused": 1}
    assert fault.counters() == {"refused": 1}
    assert is_clear(stack, "redis-memory")


def test_all_wait_for_a_slow_command(stack: Stack) -> None:
    client = to_redis(stack, 5)
    client.ping()
    with make(stack, "redis-slow-command", MAKE["redis-slow-command"]) as fault:
        longest, until = 0.0, time.monotonic() + 0.8
        while (began := time.monotonic()) < until:
            client.ping()
            longest = max(longest, time.monotonic() - began)
        assert longest >= 0.15
    assert fault.counters()["scripts"] >= 2
    assert client.slowlog_get(1)[0]["duration"] >= 300_000, "and the server's own log has it"


def test_a_released_collection_is_not_searched_and_an_exception_loads_it(stack: Stack) -> None:
    from pymilvus import MilvusException

    with pytest.raises(ZeroDivisionError), make(stack, "milvus-released", {}):
        with pytest.raises(MilvusException, match="not loaded"):
            found(stack)
        _ = 1 // 0
    assert found(stack) == ROWS


# undone, whatever happens


@pytest.mark.parametrize("name", [name for name in MAKE if name != "milvus-released"])
def test_an_exception_undoes_it(stack: Stack, name: str) -> None:
    with pytest.raises(ZeroDivisionError), make(stack, name, MAKE[name]):
        _ = 1 // 0
    assert is_clear(stack, name)
    assert stack.not_undone() == []


@pytest.mark.parametrize("name", MAKE)
def test_sigkill_of_who_set_it_undoes_it(stack: Stack, name: str) -> None:
    set_and_killed(stack, name, **MAKE[name])
    assert wait_for(lambda: is_clear(stack, name), PATIENCE)
    assert wait_for(lambda: {one["state"] for one in ask(stack, "undo-list")["entries"]} <= {"done"}, PATIENCE)
    assert stack.healthy()


# sessions of ours in that state which look on and hold nothing
LOOKING = {"idle": 1, "idle in transaction": 0}


@pytest.mark.parametrize("name", ["postgres-lock", "postgres-long-transaction", "postgres-connections"])
def test_the_server_ends_it_when_its_time_is_over(stack: Stack, name: str) -> None:
    told: list[Event] = []
    with make(stack, name, MAKE[name] | {"lasting": "1500ms"}, told.append):
        assert not is_clear(stack, name)
        state = "idle" if name == "postgres-connections" else "idle in transaction"
        ours = "FROM pg_stat_activity WHERE application_name = 'slo-harness fault'"

        def ended() -> bool:
            try:
                return bool(sql(stack, f"SELECT count(*) {ours} AND state = '{state}'")[0][0] <= LOOKING[state])
            except psycopg2.OperationalError:
                return False

        assert wait_for(ended, PATIENCE)
    end = told[-1]
    assert isinstance(end, FaultEvent) and end.how.startswith("it had ended by itself")
    assert is_clear(stack, name)


def test_a_forked_child_does_not_keep_it_alive(stack: Stack) -> None:
    fault = make(stack, "postgres-lock", MAKE["postgres-lock"])
    assert isinstance(fault, postgres_fault.PostgresFault)
    fault.begin()
    locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
    try:
        with forked_child():
            assert sql(stack, locks) == [(1,)]
            for session in fault._held:
                session.give_up()  # as the kernel does when this process is killed: no word to the server
            assert wait_for(lambda: sql(stack, locks) == [(0,)], 5)
    finally:
        fault._abandon()


# errors


def test_one_that_does_not_come_into_force_is_an_error_and_nothing_is_left(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (guarded, redis_slow, postgres_fault):
        monkeypatch.setattr(module, "PATIENCE", 1.0)
    monkeypatch.setattr(redis_slow, "SCRIPT", "return 1")
    other = to_postgres(stack)
    cases = [("redis-memory", {"limit": "1GB"}), ("redis-slow-command", {"each": "300ms", "every": "400ms"})]
    for name, values in cases:
        with pytest.raises(HarnessError) as raised:
            make(stack, name, values).begin()
        assert raised.value.slug == "fault-without-effect"
        assert wait_for(lambda name=name: is_clear(stack, name), PATIENCE)  # type: ignore[misc]
    other.close()


def test_one_that_somebody_else_has_ended_is_an_error(stack: Stack) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
    for name in ("postgres-lock", "postgres-long-transaction"):
        with pytest.raises(HarnessError) as raised, make(stack, name, MAKE[name]):
            assert sql(stack, end) == [(True,)]
            assert wait_for(lambda: not sql(stack, end), PATIENCE)
        assert raised.value.slug == "fault-without-effect"
        assert is_clear(stack, name)
    with pytest.raises(HarnessError) as raised, make(stack, "redis-memory", {}):
        to_redis(stack).config_set("maxmemory", 0)
    assert raised.value.slug == "fault-without-effect"
    assert is_clear(stack, "redis-memory")


@pytest.mark.parametrize(("name", "values", "slug", "word"), [
    ("postgres-lock", {"service": "redis"}, "service-unknown", "postgres"),
    ("postgres-lock", {"table": "document"}, "fault-parameter", "'documents'"),
    ("postgres-lock", {"mode": "weak"}, "fault-parameter", "weak"),
    ("postgres-connections", {"spare": -1}, "fault-parameter", "spare"),
    ("redis-memory", {"limit": "0B"}, "fault-parameter", "limit"),
    ("redis-slow-command", {"each": "9s", "every": "10s"}, "fault-parameter", "9s"),
    ("redis-slow-command", {"each": "2s"}, "fault-parameter", "every"),
    ("milvus-released", {"collection": "document"}, "fault-parameter", "'documents'"),
])  # fmt: skip
def test_what_cannot_be_is_refused(stack: Stack, name: str, values: dict[str, Any], slug: str, word: str) -> None:
    with pytest.raises(UsageError) as raised:
        make(stack, name, values).begin()
    assert (raised.value.slug, word in raised.value.cause) == (slug, True), raised.value.cause
