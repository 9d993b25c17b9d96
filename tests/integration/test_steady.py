"""What `make prove-faults` compares a system by: each thing that a fault might leave shows, and nothing else does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import psycopg2
import pytest
import redis

from harness.faults import Latency
from harness.faults.waiting import wait_for
from harness.stack.control import Control
from harness.stack.handle import Stack
from harness.stack.runtime import up
from tests.proofs.steady import Picture, difference, picture

pytestmark = pytest.mark.stack
TEXT = """\
apiVersion: harness/v1
kind: Stack
metadata: {name: compared}
spec:
  services:
    postgres: {use: postgres}
    redis: {use: redis}
  links: {client->redis: {to: redis.resp}}
  target: redis.resp
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    path = tmp_path_factory.mktemp("compared") / "stack.yaml"
    path.write_text(TEXT)
    with up(path, lease=True, emit=lambda _: None, allow_reuse=False) as one:
        yield one


@pytest.fixture(scope="module")
def before(stack: Stack) -> Picture:
    return picture(stack)


@contextmanager
def redis_setting(stack: Stack) -> Iterator[None]:
    host, _, port = stack.address("redis.resp").partition(":")
    with closing(redis.Redis(host=host, port=int(port))) as client:
        client.config_set("maxmemory", 2_000_000)
        yield
        client.config_set("maxmemory", 0)


@contextmanager
def lock(stack: Stack) -> Iterator[None]:
    host, _, port = stack.address("postgres.sql").partition(":")
    with (
        closing(psycopg2.connect(host=host, port=port, user="postgres", dbname="postgres")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE TABLE IF NOT EXISTS compared (a int)")
        connection.commit()
        cursor.execute("LOCK TABLE compared IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@contextmanager
def stopped(stack: Stack) -> Iterator[None]:
    stack.signal("redis", signal.SIGSTOP)
    yield
    stack.signal("redis", signal.SIGCONT)


@contextmanager
def limited(stack: Stack) -> Iterator[None]:
    control = Control(stack.id)
    pids = control.ask("limits", name="postgres")["pids"]
    key = "a-limit"
    control.ask("arm", key=key, label="limit", steps=[{"do": "limits", "name": "postgres", "pids": pids}])
    control.ask("limit", name="postgres", spare=1000)
    yield
    control.ask("undo", key=key)
    control.close()


@contextmanager
def gone(stack: Stack) -> Iterator[None]:
    stack.stop_service("redis")
    yield
    stack.start_service("redis")


@contextmanager
def late(stack: Stack) -> Iterator[None]:
    with Latency(stack.links, "client->redis", "20ms", expect_traffic=False):
        yield


@pytest.mark.parametrize(("change", "shown"), [
    (redis_setting, "redis maxmemory: 0 -> 2000000"),
    (lock, "postgres exclusive locks: 0 -> 1"),
    (stopped, "redis processes stopped: 0 -> 1"),
    (limited, "postgres Max open files: "),
    (gone, "redis is: healthy -> stopped"),
    (late, "link client->redis has: absent -> latency"),
])  # fmt: skip
def test_what_is_left_shows_and_what_is_undone_does_not(
    stack: Stack, before: Picture, change: Callable[[Stack], AbstractContextManager[None]], shown: str
) -> None:
    with change(stack):
        assert [one for one in difference(before, picture(stack)) if one.startswith(shown)]
    assert wait_for(lambda: not difference(before, picture(stack)), 20), difference(before, picture(stack))
