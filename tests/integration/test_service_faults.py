"""Faults on services, on a real PostgreSQL and Redis: what a client notices, and what cannot be is told."""

from __future__ import annotations

import errno
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import redis

from harness.core.errors import HarnessError, UsageError
from harness.core.outcome import Outcome
from harness.faults import guarded
from harness.faults.service_fault import ServiceFault
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent
from harness.stack import procfs
from harness.stack.handle import Stack
from harness.stack.isolation import VARIABLE, best_isolation
from harness.stack.runtime import up
from tests.integration.service_faults_lab import (
    PATIENCE,
    TEXT,
    SupervisorRelay,
    ask,
    is_back,
    make,
    set_and_killed,
    space,
    state_of,
    to_postgres,
    to_redis,
)

pytestmark = pytest.mark.stack

EVERY: dict[str, tuple[str, dict[str, Any]]] = {  # a service and values for each
    "pause": ("redis", {}),
    "kill": ("redis", {}),
    "restart": ("redis", {}),
    "slow-cpu": ("redis", {"share": 0.3, "period": "20ms"}),
    "file-limit": ("redis", {}),
    "disk-full": ("postgres", {}),
}


def made(stack: Stack, name: str, emit: Callable[[Event], None] | None = None, **more: Any) -> ServiceFault:
    service, values = EVERY[name]
    return make(stack, name, emit, service=service, **values, **more)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("broken")
    (directory / "stack.yaml").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory / "state"))
        with up(directory / "stack.yaml", lease=True, emit=lambda _: None) as one:
            yield one


# what a client notices


def test_a_paused_service_answers_nobody_and_goes_on_where_it_was(stack: Stack) -> None:
    with to_redis(stack) as client:
        client.set("key", "value")
        with made(stack, "pause"):
            for one in (client, to_redis(stack)):
                with pytest.raises(redis.exceptions.TimeoutError):
                    one.get("key")
        assert client.get("key") == b"value"


def test_a_paused_postgres_is_stopped_with_all_its_backends(stack: Stack) -> None:
    with to_postgres(stack).cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        with make(stack, "pause", service="postgres"):
            assert {stopped for stopped, *_ in state_of(stack, "postgres")} == {True}
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def test_a_killed_service_is_away_until_the_end_and_that_is_no_service_that_died(stack: Stack) -> None:
    with to_redis(stack) as client:
        client.set("key", "value")
        with made(stack, "kill"):
            for _ in range(2):  # the connection that was open, and a new one
                with pytest.raises(redis.exceptions.ConnectionError):
                    client.get("key")
        assert client.get("key") is None, "it was in memory"
    assert stack.died() == []


def test_a_killed_postgres_keeps_what_was_committed_though_a_backend_was_at_work(stack: Stack) -> None:
    busy = to_postgres(stack)
    with to_postgres(stack).cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 1 AS one")
        cursor.execute("CHECKPOINT")
    pid = next(one.pid for one in stack.services() if one.name == "postgres")
    assert pid is not None
    tree = procfs.trees({"": pid})[""]
    with make(stack, "kill", service="postgres"):
        assert wait_for(lambda: not any(procfs.stat(one) for one in tree)), "backends have sessions of their own"
        with pytest.raises(psycopg2.OperationalError):
            busy.cursor().execute("SELECT 1")
    with to_postgres(stack).cursor() as cursor:
        cursor.execute("SELECT one FROM kept")
        assert cursor.fetchone() == (1,)


def test_a_restarted_service_is_another_process(stack: Stack) -> None:
    def told() -> tuple[int | None, int]:
        (one,) = [one for one in stack.services() if one.name == "redis"]
        return one.pid, one.restarts

    with to_redis(stack) as client:
        client.set("key", "value")
        before = told()
        with made(stack, "restart"):
            with pytest.raises(redis.exceptions.ConnectionError):
                client.get("key")
            now = told()
            assert now[0] != before[0] and now[1] == before[1] + 1
        assert told() == now and to_redis(stack).get("key") is None
    assert stack.died() == []


def test_a_slow_service_answers_now_and_then(stack: Stack) -> None:
    seen = set()

    def look() -> bool:
        try:
            to_redis(stack, timeout=0.1).ping()
            seen.add("an answer")
        except redis.exceptions.TimeoutError:
            seen.add("none in time")
        return len(seen) == 2

    events: list[Event] = []
    with make(stack, "slow-cpu", events.append, service="redis", share=0.2, period="400ms"):
        assert wait_for(look, PATIENCE)
    assert isinstance(events[0], FaultEvent) and "80% are due" in events[0].how
    assert state_of(stack, "redis") and not {stopped for stopped, *_ in state_of(stack, "redis")} & {True}


def test_at_its_file_limit_a_service_serves_those_that_are_there_alone(stack: Stack) -> None:
    with to_redis(stack) as old:
        old.ping()
        with made(stack, "file-limit"):
            old.ping()
            with pytest.raises(redis.exceptions.TimeoutError):
                to_redis(stack).ping()
        to_redis(stack).ping()
        with make(stack, "file-limit", service="redis", spare=1), to_redis(stack) as spare:
            spare.ping()
            with pytest.raises(redis.exceptions.TimeoutError):
                to_redis(stack).ping()


def test_what_postgres_forks_at_its_limit_has_the_old_limit_afterwards(stack: Stack) -> None:
    before = state_of(stack, "postgres")
    with make(stack, "file-limit", service="postgres", spare=40):
        born = to_postgres(stack)
        assert len(state_of(stack, "postgres")) > len(before), "limits of their own"
    assert state_of(stack, "postgres") == before
    with born.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_on_a_full_disk_postgres_says_so_and_what_was_there_is_there(stack: Stack) -> None:
    with to_postgres(stack).cursor() as cursor:
        cursor.execute("CREATE TABLE room AS SELECT 'x' AS text")
        with made(stack, "disk-full"):
            assert space(stack)["free"] == 0
            with pytest.raises(psycopg2.errors.DiskFull):
                cursor.execute("INSERT INTO room SELECT repeat('x', 1000) FROM generate_series(1, 100)")
            cursor.execute("SELECT count(*) FROM room")
            assert cursor.fetchone() == (1,)
        cursor.execute("INSERT INTO room SELECT repeat('x', 1000) FROM generate_series(1, 100)")
    assert space(stack)["held"] == 0


def test_a_full_disk_stays_full_though_space_becomes_free(stack: Stack) -> None:
    with to_postgres(stack).cursor() as cursor:
        cursor.execute("CREATE TABLE large AS SELECT repeat('x', 1000) AS text FROM generate_series(1, 4000)")
        with made(stack, "disk-full"):
            held = space(stack)["held"]
            cursor.execute("DROP TABLE large")
            cursor.execute("CHECKPOINT")  # which is when its file goes
            assert wait_for(lambda: space(stack)["held"] > held + 4_000_000)
            assert wait_for(lambda: space(stack)["free"] < 1 << 16)


def test_a_postgres_that_dies_of_a_full_disk_is_started_again(stack: Stack) -> None:
    with made(stack, "disk-full"), pytest.raises(psycopg2.OperationalError), to_postgres(stack).cursor() as cursor:
        for _ in range(64):  # 64 MB into a log for which there is no room: PANIC
            cursor.execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000))")
    with to_postgres(stack).cursor() as cursor:
        cursor.execute("SELECT count(*) FROM room")
        assert cursor.fetchone() == (101,)
    assert [one.service for one in stack.died()] in ([], ["postgres"])


# undone


@pytest.mark.parametrize("name", EVERY)
def test_it_is_undone_by_an_exception_and_when_who_set_it_is_killed(stack: Stack, name: str) -> None:
    service, values = EVERY[name]
    before = state_of(stack, service)
    events: list[Event] = []
    with pytest.raises(ZeroDivisionError), made(stack, name, events.append) as fault:
        assert fault.touches == {f"service {service}"}
        _ = 1 // 0
    assert is_back(stack, service, before)
    edges = [(one.fault, one.edge) for one in events if isinstance(one, FaultEvent)]
    assert edges == [(name, "begin"), (name, "end")]
    set_and_killed(stack, name, service=service, **values)
    assert is_back(stack, service, before)
    assert stack.healthy()


@pytest.mark.parametrize("name", EVERY)
def test_it_is_undone_though_the_service_died_of_something_else(stack: Stack, name: str) -> None:
    service, _ = EVERY[name]
    before = state_of(stack, service)
    fault = made(stack, name)
    fault.begin()
    if name != "kill":
        stack.signal(service, signal.SIGKILL)
    fault._abandon()
    assert is_back(stack, service, before)


def test_an_event_that_cannot_be_written_leaves_no_fault(stack: Stack) -> None:
    def full(event: Event) -> None:
        raise OSError(errno.ENOSPC, "no space")

    before = state_of(stack, "redis")
    fault = made(stack, "pause", full)
    with pytest.raises(OSError, match="no space"):
        fault.begin()
    assert is_back(stack, "redis", before)


def test_an_undo_that_is_refused_is_told_with_what_ended_the_fault(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(event: Event) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with SupervisorRelay(stack, lambda asked: asked | {"op": "?"} if asked["op"] == "undo" else asked) as relay:
        monkeypatch.setattr(stack, "guard", relay.guard)
        with pytest.raises(OSError, match="no space") as raised:
            made(stack, "pause", full).begin()
    assert "supervisor-refused" in raised.value.__notes__[0]
    assert wait_for(lambda: stack.is_ready("redis")), "the end of its connection undoes it all the same"


def test_it_ends_by_itself_after_its_time_and_that_is_no_error(stack: Stack) -> None:
    events: list[Event] = []
    with made(stack, "pause", events.append, lasting="700ms"):
        assert wait_for(lambda: stack.is_ready("redis"))
    assert isinstance(events[-1], FaultEvent) and events[-1].how.startswith("it had ended by itself")


# errors


def _go_on(stack: Stack) -> None:
    ask(stack, "signal", name="redis", signal=int(signal.SIGCONT), tree=True)


def _start(stack: Stack) -> None:
    stack.start_service("redis")


def _end(stack: Stack) -> None:
    stack.stop_service("redis")


def _raise_limits(stack: Stack) -> None:
    pid = next(one.pid for one in stack.services() if one.name == "redis")
    assert pid is not None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (1024, resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]))


def _make_room(stack: Stack) -> None:
    ask(stack, "stop", name="ballast-postgres", signal=int(signal.SIGKILL), grace=0)
    spec = stack.undo_program("os") | {"argv": ["rm", str(stack.disk_dir("postgres") / ".ballast")]}
    ask(stack, "start", name="rm", **{key: spec[key] for key in ("argv", "env", "cwd", "log")})
    assert wait_for(lambda: space(stack)["free"] > 1 << 20)


@pytest.mark.parametrize(("name", "spoil"), [
    ("pause", _go_on), ("kill", _start), ("slow-cpu", _end), ("file-limit", _raise_limits), ("disk-full", _make_room),
])  # fmt: skip
def test_one_that_somebody_else_has_ended_is_an_error(stack: Stack, name: str, spoil: Callable[[Stack], None]) -> None:
    service, _ = EVERY[name]
    before = state_of(stack, service)
    fault = made(stack, name)
    fault.begin()
    spoil(stack)
    with pytest.raises(HarnessError) as raised:
        fault.end()
    assert raised.value.slug == "fault-without-effect"
    assert is_back(stack, service, before)


IN_PLACE = {"signal", "stop", "start"}


@pytest.mark.parametrize("name", ["pause", "kill", "slow-cpu", "file-limit", "disk-full"])
def test_one_that_cannot_be_seen_is_an_error(stack: Stack, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lazy(request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "limit":
            return request | {"spare": 1 << 20}
        if request["op"] == "throttle":
            return request | {"share": 0.95}
        return {"op": "info"} if request["op"] in IN_PLACE else request

    service, _ = EVERY[name]
    before = state_of(stack, service)
    monkeypatch.setattr(guarded, "PATIENCE", 0.3)
    with SupervisorRelay(stack, lazy) as relay:
        monkeypatch.setattr(stack, "guard", relay.guard)
        with pytest.raises(HarnessError) as raised:
            made(stack, name).begin()
        monkeypatch.undo()
    assert raised.value.slug == "fault-without-effect"
    assert is_back(stack, service, before)


def test_one_that_stays_is_an_error(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServiceFault, "_patience", 0.1)
    with SupervisorRelay(stack, lambda asked: asked | {"steps": []} if asked["op"] == "arm" else asked) as relay:
        monkeypatch.setattr(stack, "guard", relay.guard)
        fault = made(stack, "pause")
        fault.begin()
        with pytest.raises(HarnessError) as raised:
            fault.end()
        monkeypatch.undo()
    assert raised.value.slug == "fault-not-undone"
    _go_on(stack)
    assert wait_for(lambda: stack.is_ready("redis"))


@pytest.mark.parametrize(("name", "values", "slug", "words"), [
    ("pause", {"service": "redes"}, "service-unknown", "is 'redis' meant"),
    ("kill", {"service": "fill"}, "fault-parameter", "a job"),
    ("disk-full", {"service": "redis"}, "fault-parameter", "no file system of its own"),
    ("slow-cpu", {"service": "redis", "share": 0.5, "period": "5s"}, "fault-parameter", "5s"),
])  # fmt: skip
def test_what_cannot_be_is_refused(stack: Stack, name: str, values: dict[str, Any], slug: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        make(stack, name, **values)
    assert raised.value.slug == slug
    assert words in raised.value.cause


def test_without_namespaces_there_is_no_disk_to_fill_and_the_rest_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stack.yaml").write_text(TEXT)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(VARIABLE, "subreaper")
    best_isolation.cache_clear()
    try:
        with up(tmp_path / "stack.yaml", lease=True, emit=lambda _: None) as stack:
            with pytest.raises(HarnessError) as raised:
                made(stack, "disk-full")
            assert raised.value.slug == "fault-unavailable" and raised.value.outcome is Outcome.NOT_VALIDATED
            for name in ("pause", "kill", "slow-cpu", "file-limit"):
                before = state_of(stack, "postgres")
                values = EVERY[name][1]
                with make(stack, name, service="postgres", **values):
                    pass
                assert is_back(stack, "postgres", before)
    finally:
        best_isolation.cache_clear()
