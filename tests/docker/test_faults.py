"""Every fault does to a container what it does to a process: each kind once, confirmed by its effect and undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import psycopg2
import pytest
import redis
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer

from harness.core.errors import HarnessError
from harness.core.outcome import Outcome
from harness.faults.fault import Fault
from harness.faults.guarded import GuardedFault
from harness.faults.making import make
from harness.faults.registry import FAULTS
from harness.faults.waiting import wait_for
from harness.model.events import Event, FaultEvent
from harness.stack.docker.stack import DockerStack
from harness.stack.runtime import up
from harness.stack.services import RECIPES
from harness.telemetry.targets import await_targets
from tests.integration.service_faults_lab import ask

TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: broken-containers}
spec:
  timeScale: 15
  services:
    postgres: {use: postgres, disk: 128MB}
    redis: {use: redis}
    milvus: {use: milvus}
    prometheus: {use: prometheus}
    loki: {use: loki}
    notifications: {use: webhook-sink}
    traces: {use: otlp-sink}
  scrape: {prometheus: prometheus.http, loki: loki.http}
  target: redis.resp
"""
PATIENCE = 30.0
REFUSED = {"file-limit": {"service": "redis"}}  # those that cannot be put on a container
EVERY: dict[str, dict[str, Any]] = {  # fault -> one of its kinds of parameters
    "pause": {"service": "redis"},
    "kill": {"service": "redis"},
    "restart": {"service": "redis"},
    "slow-cpu": {"service": "redis", "share": 0.3, "period": "400ms"},
    "disk-full": {"service": "postgres"},
    "scrape-dropped": {"job": "loki"},
    "loki-refusing": {"expect_traffic": False},
    "sink-stalled": {"service": "traces"},
    "postgres-connections": {},
    "postgres-lock": {"table": "kept"},
    "postgres-long-transaction": {},
    "redis-memory": {},
    "redis-slow-command": {},
    "milvus-released": {"collection": "kept"},
}
LINKS = {name for name, made in FAULTS.items() if made.kind == "link"}  # put on a process of ours, on any runtime
DATA = {name for name, made in FAULTS.items() if made.kind == "data"}  # made by the load, and not on a service


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerStack]:
    directory = tmp_path_factory.mktemp("broken")
    (directory / "stack.yaml").write_text(TEXT)
    with up(directory / "stack.yaml", lease=True, emit=lambda _: None, runtime="docker") as one:
        await_targets(f"http://{one.address('prometheus.http')}", one.scrape())
        _fill(cast(DockerStack, one))
        yield cast(DockerStack, one)


def _fill(stack: DockerStack) -> None:
    from pymilvus import MilvusClient

    _sql(stack, "CREATE TABLE kept (id int)")
    client = MilvusClient(f"http://{stack.address('milvus.grpc')}", timeout=PATIENCE)
    client.create_collection("kept", dimension=4)  # loaded at once
    client.insert("kept", [{"id": at, "vector": [float(at), 0.0, 0.0, 1.0]} for at in range(8)])
    client.close()


def _sql(stack: DockerStack, text: str) -> None:
    host, port = stack.address("postgres.sql").split(":")
    connection = psycopg2.connect(host=host, port=port, user="postgres", dbname="postgres", connect_timeout=5)
    try:
        connection.autocommit = True
        connection.cursor().execute(text)
    finally:
        connection.close()


def _redis(stack: DockerStack) -> Any:
    host, port = stack.address("redis.resp").split(":")
    return redis.Redis(host, int(port), socket_timeout=1, socket_connect_timeout=1)


def _made(stack: DockerStack, name: str, emit: Callable[[Event], None] | None = None) -> Fault:
    return make(stack, name, EVERY[name], emit)


def _settled(stack: DockerStack) -> bool:
    """Whether every undo is done, and nothing of a fault runs any more."""
    processes = ask(stack, "status")["processes"]
    helpers = [one for name, one in processes.items() if name.startswith(("duty-", "ballast-"))]
    entries = ask(stack, "undo-list")["entries"]
    return all(one["state"] == "done" for one in entries) and all(one["state"] != "running" for one in helpers)


def test_every_kind_of_fault_is_in_one_of_these_tests() -> None:
    assert set(FAULTS) == {*EVERY, *REFUSED, *LINKS, *DATA}


@pytest.mark.parametrize("name", EVERY)
def test_it_is_seen_to_be_in_force_and_to_be_undone(stack: DockerStack, name: str) -> None:
    told: list[Event] = []
    with _made(stack, name, told.append):
        pass
    assert [one.edge for one in told if isinstance(one, FaultEvent)] == ["begin", "end"]
    assert all(one.how for one in told if isinstance(one, FaultEvent))
    assert stack.healthy()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_to_a_container_is_not_validated(stack: DockerStack, name: str) -> None:
    with pytest.raises(HarnessError) as raised:
        make(stack, name, REFUSED[name])
    assert (raised.value.slug, raised.value.outcome) == ("fault-in-container", Outcome.NOT_VALIDATED)


def test_a_paused_container_keeps_what_it_had(stack: DockerStack) -> None:
    client = _redis(stack)
    client.set("key", "value")
    with _made(stack, "pause"):
        assert stack.state("redis")["Paused"]
        with pytest.raises(NoAnswer):
            _redis(stack).get("key")
    assert _redis(stack).get("key") == b"value"


def test_a_container_that_was_paused_for_too_long_is_killed_and_started(
    stack: DockerStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a Milvus is, which does not survive a long pause."""
    monkeypatch.setitem(RECIPES, "redis", replace(RECIPES["redis"], longest_pause=0.0))
    before = stack.state("redis")["StartedAt"]
    with _made(stack, "pause"):
        pass
    assert stack.state("redis")["StartedAt"] != before
    assert _redis(stack).ping()


def test_a_killed_container_is_away_until_the_end(stack: DockerStack) -> None:
    with _made(stack, "kill"):
        assert not stack.state("redis")["Running"]
        with pytest.raises((NoConnection, NoAnswer)):
            _redis(stack).ping()
    assert _redis(stack).ping()


def test_a_slowed_container_is_paused_for_its_share_of_the_time(stack: DockerStack) -> None:
    with _made(stack, "slow-cpu"):
        until = time.monotonic() + PATIENCE
        seen: set[bool] = set()
        while seen != {True, False}:
            assert time.monotonic() < until
            seen.add(bool(stack.state("redis")["Paused"]))
    assert not stack.state("redis")["Paused"]


def test_a_full_disk_refuses_a_large_table_and_takes_it_afterwards(stack: DockerStack) -> None:
    large = "CREATE TABLE large AS SELECT repeat('x', 900) FROM generate_series(1, 20000)"
    with _made(stack, "disk-full"), pytest.raises(psycopg2.Error, match="No space left on device"):
        _sql(stack, large)
    _sql(stack, large)
    _sql(stack, "DROP TABLE large")


@pytest.mark.parametrize("name", ["pause", "kill", "slow-cpu", "disk-full"])
def test_the_connection_that_holds_a_fault_undoes_it_with_its_end(stack: DockerStack, name: str) -> None:
    """As when the harness is killed: nobody calls `end`."""
    fault = _made(stack, name)
    assert isinstance(fault, GuardedFault)
    fault.begin()
    fault._close()
    assert wait_for(lambda: _settled(stack), PATIENCE)
    assert stack.healthy()
    assert not any(stack.state(one)["Paused"] for one in ("redis", "postgres"))
